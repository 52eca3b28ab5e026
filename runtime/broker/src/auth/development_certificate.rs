//! A certificate for those who have none yet: made at first use, trusted by whoever is given the
//! file of its authority.
//!
//! | file in `tls/` | what |
//! |---|---|
//! | `development-ca.pem` | the authority, for `ssl.ca.location` of clients; 10 years |
//! | `development-ca-key.pem` | its key; readable by the owner of the folder alone |
//!
//! The authority stays with the data folder. The broker's own certificate is issued anew at each
//! start, for the names under which it is reached then, and never stored.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::clock::Clock;
use crate::disk::Disk;

const FOLDER: &str = "tls";
const CA_FILE: &str = "development-ca.pem";
const CA_KEY_FILE: &str = "development-ca-key.pem";
const FILE_BYTES_MAX: usize = 64 << 10;

const DAY_MS: i64 = 24 * 60 * 60 * 1000;
const CA_VALID_MS: i64 = 3650 * DAY_MS;
/// Clients of some vendors take nothing that is valid for longer.
const SERVER_VALID_MS: i64 = 825 * DAY_MS;
/// Clocks of clients may be behind ours by that much.
const CLOCK_SKEW_MS: i64 = DAY_MS;

/// Where Linux tells the machine's name.
const HOST_NAME_FILE: &str = "/proc/sys/kernel/hostname";

pub(super) struct DevelopmentCertificate {
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: PrivateKeyDer<'static>,
    /// The authority, to be given to clients.
    pub(super) ca_file: PathBuf,
}

/// Issues a certificate for this machine and `names`, making the authority if there is none.
/// Blocks.
pub(super) fn issue(
    disk: &(dyn Disk + 'static),
    clock: &dyn Clock,
    data_dir: &Path,
    names: &[String],
) -> Result<DevelopmentCertificate> {
    let folder = data_dir.join(FOLDER);
    let made = disk.create_directory(&folder);
    made.with_context(|| format!("cannot create `{}`", folder.display()))?;
    let ca_key = ca_key(disk, &folder.join(CA_KEY_FILE))?;
    let ca_file = folder.join(CA_FILE);
    let authority = authority(clock)?;
    if read(disk, &ca_file)?.is_none() {
        let pem = authority.self_signed(&ca_key).context("cannot make an authority")?.pem();
        let written = disk.write_small(&ca_file, pem.as_bytes());
        written.with_context(|| format!("cannot write `{}`", ca_file.display()))?;
        tracing::info!(file = %ca_file.display(), "made an authority for development certificates");
    }
    let server_key = KeyPair::generate().context("cannot make a key")?;
    let issuer = Issuer::new(authority, ca_key);
    let params = server(clock, &all_names(disk, names))?;
    let certificate =
        params.signed_by(&server_key, &issuer).context("cannot issue a certificate")?;
    let key = PrivateKeyDer::try_from(server_key.serialize_der()).map_err(anyhow::Error::msg)?;
    Ok(DevelopmentCertificate { chain: vec![certificate.der().clone()], key, ca_file })
}

/// The key in the file; made and stored if there is none.
fn ca_key(disk: &(dyn Disk + 'static), path: &Path) -> Result<KeyPair> {
    if let Some(content) = read(disk, path)? {
        let text = String::from_utf8(content).context("not UTF-8");
        let key = text.and_then(|text| KeyPair::from_pem(&text).context("no private key"));
        return key.with_context(|| {
            let path = path.display();
            format!("`{path}` is damaged; delete its folder to have a new authority made")
        });
    }
    let key = KeyPair::generate().context("cannot make a key")?;
    let written = disk.write_private(path, key.serialize_pem().as_bytes());
    written.with_context(|| format!("cannot write `{}`", path.display()))?;
    Ok(key)
}

fn read(disk: &(dyn Disk + 'static), path: &Path) -> Result<Option<Vec<u8>>> {
    let content = disk.read_small(path, FILE_BYTES_MAX);
    content.with_context(|| format!("cannot read `{}`", path.display()))
}

/// The same but for its dates at every start, so that certificates issued then fit the file.
fn authority(clock: &dyn Clock) -> Result<CertificateParams> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "Gristmill development CA");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    set_validity(&mut params, clock, CA_VALID_MS);
    Ok(params)
}

fn server(clock: &dyn Clock, names: &BTreeSet<String>) -> Result<CertificateParams> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "Gristmill broker");
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    for name in names {
        params.subject_alt_names.push(match name.parse::<IpAddr>() {
            Ok(address) => SanType::IpAddress(address),
            Err(_) => {
                let name = name.as_str().try_into();
                SanType::DnsName(name.context("a host name that no certificate can hold")?)
            }
        });
    }
    set_validity(&mut params, clock, SERVER_VALID_MS);
    Ok(params)
}

fn set_validity(params: &mut CertificateParams, clock: &dyn Clock, valid_ms: i64) {
    let at = |ms: i64| UNIX_EPOCH + Duration::from_millis(u64::try_from(ms).unwrap_or(0));
    params.not_before = at(clock.now_ms() - CLOCK_SKEW_MS).into();
    params.not_after = at(clock.now_ms() + valid_ms).into();
}

/// This machine under the names that it always has, and those given.
fn all_names(disk: &(dyn Disk + 'static), names: &[String]) -> BTreeSet<String> {
    let mut all = BTreeSet::from(["localhost", "127.0.0.1", "::1"].map(str::to_owned));
    // Elsewhere than on Linux the machine's own name has to be given.
    if let Ok(file) = disk.open(Path::new(HOST_NAME_FILE), crate::disk::OpenHow::Read) {
        let mut name = Vec::new();
        let read = file.read_at(0, 256, &mut name);
        let name = String::from_utf8_lossy(&name).trim().to_owned();
        if read.is_ok() && !name.is_empty() && name.is_ascii() {
            all.insert(name);
        }
    }
    all.extend(names.iter().cloned());
    all
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;
    use crate::disk::faults::FaultDisk;

    const DATA: &str = "/data";

    fn issue_on(disk: &FaultDisk, now_ms: i64) -> Result<DevelopmentCertificate> {
        let names = ["kafka.example".to_owned(), "10.0.0.7".to_owned()];
        issue(disk, &ManualClock::at(now_ms), Path::new(DATA), &names)
    }

    #[test]
    fn the_authority_stays_and_the_certificate_is_new_at_each_start() {
        let disk = FaultDisk::default();
        let first = issue_on(&disk, 1_800_000_000_000).unwrap();
        let authority = disk.read(&first.ca_file);
        let second = issue_on(&disk.power_cut(None), 1_900_000_000_000).unwrap();
        assert_eq!(disk.power_cut(None).read(&second.ca_file), authority);
        assert_ne!(first.chain, second.chain);
    }

    #[test]
    fn a_lost_certificate_of_the_authority_is_made_again_from_its_key() {
        let disk = FaultDisk::default();
        let first = issue_on(&disk, 1_800_000_000_000).unwrap();
        disk.remove_file(&first.ca_file).unwrap();
        issue_on(&disk, 1_800_000_000_000).unwrap();
        assert!(!disk.read(&first.ca_file).is_empty());
    }

    #[test]
    fn a_damaged_key_is_refused_by_name() {
        let disk = FaultDisk::default();
        disk.put(&Path::new(DATA).join(FOLDER).join(CA_KEY_FILE), b"no key".to_vec());
        let error = format!("{:#}", issue_on(&disk, 0).err().unwrap());
        assert!(error.contains("development-ca-key.pem` is damaged"), "{error}");
    }
}
