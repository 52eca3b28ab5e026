//! API keys: a name and a secret that the broker makes, and the rights that go with them.
//!
//! A key is a user as any other (`User:KEY`), with a credential for each mechanism. The secret is
//! told once, when it is made.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};

use crate::auth::Principal;
use crate::auth::acl::{
    Acl, AclFilter, CLUSTER_NAME, Operation, Pattern, PatternType, Permission, ResourceType, Rule,
    WILDCARD,
};
use crate::auth::authorizer::{Authorizer, AuthorizerConfig};
use crate::auth::credentials::{Credentials, credentials_for, fill_random};
use crate::data_folder::FolderLock;
use crate::disk::{Disk, OsDisk};

/// Characters of a key, of 5 bits each.
const KEY_CHARACTERS: usize = 16;
/// Characters of a secret: 260 bits.
const SECRET_CHARACTERS: usize = 52;
/// Easy to tell apart, and harmless in shells, properties and URLs.
const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// A key that was just made. Not `Debug`: it holds the secret.
#[derive(Clone)]
pub struct NewApiKey {
    /// The user name for SASL.
    pub key: String,
    /// The password for SASL. Nobody can tell it again.
    pub secret: String,
}

/// A user who can log in: an API key, or one that AlterUserScramCredentials made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// The user name for SASL.
    pub key: String,
    /// The mechanisms that it has a credential for, PLAIN aside.
    pub mechanisms: Vec<&'static str>,
    /// ACLs that name it.
    pub acls: usize,
}

/// What a new key may do before anybody makes ACLs for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rights {
    /// Everything on every topic, group, transactional id and the cluster.
    Cluster,
    /// Nothing.
    None,
}

/// The API keys of one data folder.
#[derive(Debug, Clone)]
pub struct ApiKeys {
    credentials: Arc<Credentials>,
    authorizer: Arc<Authorizer>,
    _lock: Option<Arc<FolderLock>>,
}

impl ApiKeys {
    /// The keys of a folder that no broker uses, which this does then. `None`: a broker runs on the
    /// folder; ask that one, by AlterUserScramCredentials. Blocks.
    pub fn open(data_dir: &Path) -> Result<Option<ApiKeys>> {
        let disk: Arc<dyn Disk> = Arc::new(OsDisk);
        disk.create_directory(data_dir).with_context(|| {
            let folder = data_dir.display();
            format!("cannot create the data folder `{folder}`; choose another with --data-dir")
        })?;
        let Some(lock) = FolderLock::take_if_free(data_dir)? else { return Ok(None) };
        let credentials = Credentials::open(Arc::clone(&disk), data_dir)?;
        let authorizer = Authorizer::open(AuthorizerConfig::default(), disk, data_dir)?;
        let mut keys = ApiKeys::new(Arc::new(credentials), Arc::new(authorizer));
        keys._lock = Some(Arc::new(lock));
        Ok(Some(keys))
    }

    pub(crate) fn new(credentials: Arc<Credentials>, authorizer: Arc<Authorizer>) -> ApiKeys {
        ApiKeys { credentials, authorizer, _lock: None }
    }

    /// Makes a key. When this returns it is on disk and, in a running broker, in force. Blocks.
    pub fn create(&self, rights: Rights) -> Result<NewApiKey> {
        let new = new_api_key()?;
        let credentials = credentials_for(&new.secret)?;
        if rights == Rights::Cluster {
            self.authorizer.create(cluster_acls(&new.key))?;
        }
        self.credentials.change(|users| {
            users.insert(new.key.clone(), credentials);
            Ok(())
        })?;
        Ok(new)
    }

    /// Every user who can log in, by name.
    pub fn list(&self) -> Vec<ApiKey> {
        let acls = self.authorizer.acls();
        let users = self.credentials.users();
        let listed = users.iter().map(|(key, credentials)| {
            let principal = Principal::user(key);
            ApiKey {
                key: key.clone(),
                mechanisms: credentials.keys().map(|mechanism| mechanism.name()).collect(),
                acls: acls.iter().filter(|acl| acl.rule.principal == principal).count(),
            }
        });
        listed.collect()
    }

    /// Removes a key and the ACLs that name it. Connections that it has opened stay until they
    /// close or have to authenticate again, without its rights. Error: there is no such key. Blocks.
    pub fn delete(&self, key: &str) -> Result<()> {
        self.credentials.change(|users| {
            ensure!(users.remove(key).is_some(), "there is no API key `{key}`");
            Ok(())
        })?;
        let principal = Some(Principal::user(key));
        self.authorizer.delete(&[AclFilter { principal, ..AclFilter::default() }]).map(drop)
    }
}

/// A fresh key and secret, kept nowhere yet.
pub fn new_api_key() -> Result<NewApiKey> {
    Ok(NewApiKey {
        key: random_text(KEY_CHARACTERS)?,
        secret: random_text(SECRET_CHARACTERS)?.to_ascii_lowercase(),
    })
}

fn random_text(characters: usize) -> Result<String> {
    let mut bytes = vec![0; characters];
    fill_random(&mut bytes)?;
    // 256 is a multiple of 32: every character is as likely as another.
    let character = |byte: u8| char::from(ALPHABET[usize::from(byte) % ALPHABET.len()]);
    Ok(bytes.into_iter().map(character).collect())
}

/// The resource types and names that a key with [`Rights::Cluster`] may do everything with.
pub const CLUSTER_RESOURCES: [(ResourceType, &str); 4] = [
    (ResourceType::Topic, WILDCARD),
    (ResourceType::Group, WILDCARD),
    (ResourceType::TransactionalId, WILDCARD),
    (ResourceType::Cluster, CLUSTER_NAME),
];

fn cluster_acls(key: &str) -> Vec<Acl> {
    let acl = |(resource_type, name): (ResourceType, &str)| Acl {
        pattern: Pattern {
            resource_type,
            name: name.to_owned(),
            pattern_type: PatternType::Literal,
        },
        rule: Rule {
            principal: Principal::user(key),
            host: WILDCARD.to_owned(),
            operation: Operation::All,
            permission: Permission::Allow,
        },
    };
    CLUSTER_RESOURCES.map(acl).to_vec()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::auth::acl::Asker;

    #[test]
    fn a_key_is_made_listed_used_and_deleted() {
        let folder = tempfile::tempdir().unwrap();
        let keys = ApiKeys::open(folder.path()).unwrap().unwrap();
        let bare = keys.create(Rights::None).unwrap();
        let full = keys.create(Rights::Cluster).unwrap();
        drop(keys);
        let keys = ApiKeys::open(folder.path()).unwrap().unwrap();
        let mut expected = [(&bare, 0), (&full, 4)].map(|(new, acls)| ApiKey {
            key: new.key.clone(),
            mechanisms: vec!["SCRAM-SHA-256", "SCRAM-SHA-512"],
            acls,
        });
        expected.sort_by(|one, other| one.key.cmp(&other.key));
        assert_eq!(keys.list(), expected);
        for (new, may) in [(&bare, false), (&full, true)] {
            assert!(keys.credentials.is_secret(&new.key, &new.secret));
            assert!(!keys.credentials.is_secret(&new.key, &new.key));
            let principal = Principal::user(&new.key);
            let asker = Asker { principal: &principal, host: "10.0.0.1" };
            let (operation, kind) = (Operation::Alter, ResourceType::Cluster);
            assert_eq!(keys.authorizer.may(asker, operation, kind, CLUSTER_NAME), may);
        }
        keys.delete(&full.key).unwrap();
        assert_eq!(keys.authorizer.acls().len(), 0);
        let error = keys.delete(&full.key).unwrap_err().to_string();
        assert!(error.contains("there is no API key"), "{error}");
        assert_eq!(keys.list().len(), 1);
    }

    #[test]
    fn a_folder_in_use_is_left_to_the_one_who_uses_it() {
        let folder = tempfile::tempdir().unwrap();
        let keys = ApiKeys::open(folder.path()).unwrap();
        assert!(ApiKeys::open(folder.path()).unwrap().is_none());
        drop(keys);
        assert!(ApiKeys::open(folder.path()).unwrap().is_some());
    }

    #[test]
    fn keys_and_secrets_are_long_plain_and_never_the_same() {
        let (one, other) = (new_api_key().unwrap(), new_api_key().unwrap());
        assert_eq!((one.key.len(), one.secret.len()), (16, 52));
        let is_plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric());
        assert!(is_plain(&one.key) && is_plain(&one.secret));
        assert!(one.key != other.key && one.secret != other.secret);
    }
}
