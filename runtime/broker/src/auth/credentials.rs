//! The users of a data folder and what is kept of their secrets: `credentials.json`.
//!
//! Salted and hashed only (see `scram`); PLAIN is checked against the same credentials.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::rand::{SecureRandom, SystemRandom};
use ring::{digest, hmac};
use serde::{Deserialize, Serialize};

use crate::auth::scram::{ITERATIONS_MAX, ITERATIONS_MIN, ScramCredential, ScramMechanism};
use crate::disk::Disk;
use crate::kept::{Content, Kept};

/// Users of one broker. All are in memory, and in one file that each change replaces.
pub(crate) const USERS_MAX: usize = 10_000;
/// Bytes of a user name.
pub(crate) const USER_NAME_BYTES_MAX: usize = 255;
/// Bytes of a salt.
pub(crate) const SALT_BYTES_MAX: usize = 1024;

const SALT_BYTES: usize = 16;

/// One user's credentials, at most one for each mechanism.
pub(crate) type UserCredentials = BTreeMap<ScramMechanism, ScramCredential>;
/// All users by name.
pub(crate) type Users = BTreeMap<String, UserCredentials>;

pub(crate) struct Credentials {
    users: Kept<Users>,
    /// Makes the salts that unknown users are shown.
    decoy_key: hmac::Key,
}

impl Credentials {
    /// Reads the users of a data folder; none if there is no file. Blocks.
    pub(crate) fn open(disk: Arc<dyn Disk>, data_dir: &Path) -> Result<Credentials> {
        let users = Kept::open(disk, data_dir)?;
        let mut decoy = [0; 32];
        fill_random(&mut decoy)?;
        Ok(Credentials { users, decoy_key: hmac::Key::new(hmac::HMAC_SHA256, &decoy) })
    }

    /// All users as they are now.
    pub(crate) fn users(&self) -> Arc<Users> {
        self.users.get()
    }

    /// Changes the users: all of `change` or, if it fails or cannot be stored, nothing. Blocks.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut Users) -> Result<T>) -> Result<T> {
        self.users.change(|users| {
            let changed = change(users)?;
            users.retain(|_, credentials| !credentials.is_empty());
            ensure!(users.len() <= USERS_MAX, "there may be {USERS_MAX} users at most");
            Ok(changed)
        })
    }

    /// The credential that a SCRAM exchange runs with. An unknown user gets one that no secret
    /// fits, and always the same, so that nobody learns which names there are.
    pub(crate) fn scram(&self, user: &str, mechanism: ScramMechanism) -> ScramCredential {
        let users = self.users();
        let known = users.get(user).and_then(|credentials| credentials.get(&mechanism));
        known.cloned().unwrap_or_else(|| self.decoy(user, mechanism))
    }

    /// True if `secret` is that user's. Takes milliseconds, as long for unknown users as for known.
    pub(crate) fn is_secret(&self, user: &str, secret: &str) -> bool {
        let users = self.users();
        let known = users.get(user).and_then(|credentials| credentials.values().next());
        match known {
            Some(credential) => credential.is_secret(secret),
            None => {
                let decoy = self.decoy(user, ScramMechanism::Sha256);
                let _in_vain = decoy.is_secret(secret); // to take as long
                false
            }
        }
    }

    fn decoy(&self, user: &str, mechanism: ScramMechanism) -> ScramCredential {
        let derived = |purpose: &str| {
            let message = format!("{purpose} {} {user}", mechanism.name());
            hmac::sign(&self.decoy_key, message.as_bytes())
        };
        let salt = derived("salt").as_ref()[..SALT_BYTES].to_vec();
        let key = |purpose| digest::digest(&digest::SHA512, derived(purpose).as_ref());
        let bytes = mechanism.hash_bytes();
        ScramCredential {
            mechanism,
            iterations: iterations_default(),
            salt,
            stored_key: key("stored").as_ref()[..bytes].to_vec(),
            server_key: key("server").as_ref()[..bytes].to_vec(),
        }
    }
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("users", &self.users).finish_non_exhaustive()
    }
}

/// One credential of each mechanism for a secret, with fresh salts. Takes milliseconds.
pub(crate) fn credentials_for(secret: &str) -> Result<UserCredentials> {
    let mut credentials = UserCredentials::new();
    for mechanism in ScramMechanism::ALL {
        let mut salt = [0; SALT_BYTES];
        fill_random(&mut salt)?;
        let credential = ScramCredential::new(mechanism, secret, &salt, iterations_default());
        credentials.insert(mechanism, credential);
    }
    Ok(credentials)
}

/// Unguessable bytes from the system.
pub(crate) fn fill_random(bytes: &mut [u8]) -> Result<()> {
    let filled = SystemRandom::new().fill(bytes);
    filled.map_err(|_| anyhow::anyhow!("the system gives no random bytes"))
}

/// How often our own credentials are hashed: secrets that we make are random, more rounds would
/// guard nothing.
fn iterations_default() -> NonZeroU32 {
    NonZeroU32::new(ITERATIONS_MIN).unwrap_or(NonZeroU32::MIN)
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    version: u32,
    users: BTreeMap<String, Vec<StoredCredential>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredCredential {
    mechanism: ScramMechanism,
    iterations: u32,
    /// This and the keys in Base64.
    salt: String,
    stored_key: String,
    server_key: String,
}

impl Content for Users {
    const FILE: &'static str = "credentials.json";

    fn parse(content: &[u8]) -> Result<Users> {
        let stored: Stored = serde_json::from_slice(content)?;
        ensure!(stored.version == 1, "version {} is not known", stored.version);
        let mut users = Users::new();
        for (name, credentials) in stored.users {
            let user: &mut UserCredentials = users.entry(name.clone()).or_default();
            for stored in credentials {
                let credential = credential(&stored).with_context(|| format!("user `{name}`"))?;
                user.insert(stored.mechanism, credential);
            }
        }
        Ok(users)
    }

    fn serialize(&self) -> Result<Vec<u8>> {
        let stored = |credential: &ScramCredential| StoredCredential {
            mechanism: credential.mechanism,
            iterations: credential.iterations.get(),
            salt: BASE64.encode(&credential.salt),
            stored_key: BASE64.encode(&credential.stored_key),
            server_key: BASE64.encode(&credential.server_key),
        };
        let users = self
            .iter()
            .map(|(name, credentials)| (name.clone(), credentials.values().map(stored).collect()));
        let stored = Stored { version: 1, users: users.collect() };
        serde_json::to_vec_pretty(&stored).context("cannot write the credentials as JSON")
    }
}

fn credential(stored: &StoredCredential) -> Result<ScramCredential> {
    let (mechanism, bytes) = (stored.mechanism, stored.mechanism.hash_bytes());
    let key = |text: &str| {
        let key = BASE64.decode(text).context("a key that is not Base64")?;
        ensure!(key.len() == bytes, "a key of {} bytes instead of {bytes}", key.len());
        Ok(key)
    };
    if !(ITERATIONS_MIN..=ITERATIONS_MAX).contains(&stored.iterations) {
        bail!("{} iterations", stored.iterations);
    }
    Ok(ScramCredential {
        mechanism,
        iterations: NonZeroU32::new(stored.iterations).context("no iterations")?,
        salt: BASE64.decode(&stored.salt).context("a salt that is not Base64")?,
        stored_key: key(&stored.stored_key)?,
        server_key: key(&stored.server_key)?,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::disk::faults::FaultDisk;

    const FOLDER: &str = "/data";

    fn open(disk: &FaultDisk) -> Result<Credentials> {
        Credentials::open(Arc::new(disk.clone()), Path::new(FOLDER))
    }

    fn add(credentials: &Credentials, user: &str) -> Result<()> {
        let new = credentials_for("secret")?;
        credentials.change(|users| {
            users.insert(user.to_owned(), new);
            Ok(())
        })
    }

    #[test]
    fn users_survive_a_power_cut_and_their_secrets_are_not_in_the_file() {
        let disk = FaultDisk::default();
        let credentials = open(&disk).unwrap();
        add(&credentials, "app").unwrap();
        let after = disk.power_cut(None);
        let content = String::from_utf8(after.read(&Path::new(FOLDER).join(Users::FILE))).unwrap();
        assert!(content.contains("app") && !content.contains("secret\""), "{content}");
        let again = open(&after).unwrap();
        assert_eq!(again.users(), credentials.users());
        assert!(again.is_secret("app", "secret"));
    }

    #[test]
    fn a_change_that_cannot_be_stored_is_not_made() {
        let disk = FaultDisk::default();
        let credentials = open(&disk).unwrap();
        add(&credentials, "first").unwrap();
        disk.fail_writes_after(0);
        add(&credentials, "second").unwrap_err();
        assert_eq!(credentials.users().keys().collect::<Vec<_>>(), ["first"]);
        assert_eq!(open(&disk.power_cut(None)).unwrap().users(), credentials.users());
    }

    #[test]
    fn a_damaged_file_is_refused_by_name() {
        let disk = FaultDisk::default();
        let credentials = open(&disk).unwrap();
        add(&credentials, "app").unwrap();
        let path = Path::new(FOLDER).join(Users::FILE);
        let good = String::from_utf8(disk.read(&path)).unwrap();
        let bad = [
            "{".to_owned(),
            good.replace("\"version\": 1", "\"version\": 2"),
            good.replace("4096", "1"),
            good.replace("SHA-256", "SHA-512"),
            good.replace("stored_key\": \"", "stored_key\": \"!"),
        ];
        for content in bad {
            disk.put(&path, content.into_bytes());
            let error = format!("{:#}", open(&disk).unwrap_err());
            assert!(error.contains("credentials.json` is damaged"), "{error}");
        }
    }

    #[test]
    fn unknown_users_look_like_known_ones() {
        let disk = FaultDisk::default();
        let credentials = open(&disk).unwrap();
        add(&credentials, "app").unwrap();
        for mechanism in ScramMechanism::ALL {
            let known = credentials.scram("app", mechanism);
            let unknown = credentials.scram("nobody", mechanism);
            assert_eq!(unknown, credentials.scram("nobody", mechanism));
            assert_eq!(unknown.salt.len(), known.salt.len());
            assert_eq!(unknown.iterations, known.iterations);
            assert_eq!(unknown.stored_key.len(), known.stored_key.len());
            assert_ne!(unknown.salt, credentials.scram("no one", mechanism).salt);
        }
        assert!(!credentials.is_secret("nobody", "secret"));
    }
}
