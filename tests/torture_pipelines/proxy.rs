//! The network between clients and a broker: it can be cut, stand still, or lose answers.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};

use crate::support;

/// What a proxy does with the bytes that it gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Weather {
    Fair,
    /// Nothing gets through, in either direction; it does later.
    Still,
    /// Requests get through, answers are lost.
    Mute,
}

/// Forwards the connections to one broker.
pub struct Proxy {
    pub address: String,
    shared: Arc<Shared>,
}

struct Shared {
    /// Where the broker itself listens.
    target: String,
    weather: AtomicU8,
    open: Mutex<Vec<Arc<Connection>>>,
}

/// From a client to the broker.
struct Connection {
    client: TcpStream,
    broker: TcpStream,
}

impl Proxy {
    pub fn start(target: &str) -> Proxy {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let weather = AtomicU8::new(Weather::Fair as u8);
        let shared =
            Arc::new(Shared { target: target.to_owned(), weather, open: Mutex::default() });
        let accepting = shared.clone();
        std::thread::spawn(move || {
            listener.incoming().flatten().for_each(|client| accepting.connect(client));
        });
        Proxy { address, shared }
    }

    pub fn set(&self, weather: Weather) {
        self.shared.weather.store(weather as u8, Ordering::Relaxed);
    }

    /// Ends every connection.
    pub fn cut(&self) {
        self.shared.open.lock().unwrap().drain(..).for_each(|connection| connection.end());
    }
}

impl Connection {
    fn end(&self) {
        // One that has ended by itself is no failure.
        let _ = self.client.shutdown(Shutdown::Both);
        let _ = self.broker.shutdown(Shutdown::Both);
    }
}

impl Shared {
    /// A broker that is away is one that refuses the connection.
    fn connect(self: &Arc<Shared>, client: TcpStream) {
        let Ok(broker) = TcpStream::connect(&self.target) else { return };
        [&client, &broker].iter().for_each(|end| end.set_nodelay(true).unwrap());
        let connection = Arc::new(Connection { client, broker });
        self.open.lock().unwrap().push(connection.clone());
        let (there, back, answers) = (self.clone(), self.clone(), connection.clone());
        std::thread::spawn(move || {
            there.forward(&connection.client, &connection.broker, false);
            there.forget(&connection);
        });
        std::thread::spawn(move || {
            back.forward(&answers.broker, &answers.client, true);
            back.forget(&answers);
        });
    }

    fn forward(&self, mut from: &TcpStream, mut to: &TcpStream, is_answer: bool) {
        let mut bytes = vec![0; 64 << 10];
        while let Ok(count @ 1..) = from.read(&mut bytes) {
            while self.is(Weather::Still) {
                support::pause();
            }
            let lost = is_answer && self.is(Weather::Mute);
            if !lost && to.write_all(&bytes[..count]).is_err() {
                break;
            }
        }
    }

    fn forget(&self, connection: &Arc<Connection>) {
        connection.end();
        self.open.lock().unwrap().retain(|open| !Arc::ptr_eq(open, connection));
    }

    fn is(&self, weather: Weather) -> bool {
        self.weather.load(Ordering::Relaxed) == weather as u8
    }
}
