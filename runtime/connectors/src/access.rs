//! Who may log in to a cluster, and what they may do there: users with SCRAM credentials, and ACLs,
//! by Kafka's own requests. For the built-in broker and any other.
//!
//! The rdkafka crate doesn't wrap these requests: all `unsafe` code about them is here and in `native_admin`.
//!
//! Functions are async and answer within [`REACH_TIME_MAX`] if the cluster is out of reach.

use std::ffi::{CStr, CString};
use std::ptr;

use anyhow::{Context, Result, bail};
use rdkafka::bindings as librdkafka;
use rdkafka::bindings::{
    rd_kafka_AclOperation_t as AclOperation, rd_kafka_AclPermissionType_t as AclPermission,
    rd_kafka_ResourcePatternType_t as PatternType, rd_kafka_ResourceType_t as NativeResource,
    rd_kafka_ScramMechanism_t as Mechanism,
};

use crate::admin::{on_thread, reach};
use crate::kafka_client::Cluster;
use crate::native_admin::{Admin, MESSAGE_BYTES_MAX, Message, Owned, check, items, text};

/// How often a password is hashed (RFC 7677): our secrets are random, more rounds guard nothing.
const ITERATIONS: i32 = 4096;
const MECHANISMS: [(Mechanism, &str); 2] = [
    (Mechanism::RD_KAFKA_SCRAM_MECHANISM_SHA_256, "SCRAM-SHA-256"),
    (Mechanism::RD_KAFKA_SCRAM_MECHANISM_SHA_512, "SCRAM-SHA-512"),
];

/// A kind of thing that ACLs are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource {
    Topic,
    Group,
    TransactionalId,
    Cluster,
}

/// A user, and how it can log in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    pub name: String,
    pub mechanisms: Vec<&'static str>,
}

/// Makes a user who can log in with that secret and do everything with the named resources (`*`:
/// all of a kind), first the rights, then the user.
///
/// Errors: the cluster has no SCRAM credentials or ACLs, or this client may not change them.
pub async fn create_user(
    cluster: &Cluster,
    user: &str,
    secret: &str,
    resources: Vec<(Resource, String)>,
) -> Result<()> {
    reach(cluster).await?;
    let (user, secret) = (user.to_owned(), secret.to_owned());
    on_thread(cluster, move |cluster| {
        let admin = Admin::open(cluster)?;
        if !resources.is_empty() {
            admin.create_acls(&user, &resources).context("cannot give it rights")?;
        }
        let set = |name: &CStr, mechanism| upsertion(name, mechanism, &secret);
        admin.alter(&user, MECHANISMS.map(|(mechanism, _)| mechanism).to_vec(), set)
    })
    .await
}

/// Everybody who can log in by SCRAM, by name.
pub async fn list_users(cluster: &Cluster) -> Result<Vec<User>> {
    reach(cluster).await?;
    on_thread(cluster, |cluster| Admin::open(cluster)?.users()).await
}

/// Removes a user and the ACLs that name it.
///
/// Errors: there is no such user.
pub async fn delete_user(cluster: &Cluster, user: &str) -> Result<()> {
    reach(cluster).await?;
    let user = user.to_owned();
    on_thread(cluster, move |cluster| {
        let admin = Admin::open(cluster)?;
        let users = admin.users()?;
        let Some(found) = users.into_iter().find(|found| found.name == user) else {
            bail!("there is no API key `{user}`");
        };
        let known = MECHANISMS.iter().filter(|(_, name)| found.mechanisms.contains(name));
        let mechanisms = known.map(|(mechanism, _)| *mechanism).collect();
        admin.alter(&user, mechanisms, deletion)?;
        admin.delete_acls(&user).context("cannot take its rights")
    })
    .await
}

/// A new SCRAM credential. librdkafka salts and hashes: the secret stays here.
fn upsertion(user: &CStr, mechanism: Mechanism, secret: &str) -> *mut Alteration {
    // SAFETY: the strings live during the call, which copies them; with no salt it makes one.
    unsafe {
        librdkafka::rd_kafka_UserScramCredentialUpsertion_new(
            user.as_ptr(),
            mechanism,
            ITERATIONS,
            secret.as_ptr(),
            secret.len(),
            ptr::null(),
            0,
        )
    }
}

fn deletion(user: &CStr, mechanism: Mechanism) -> *mut Alteration {
    // SAFETY: the string lives during the call, which copies it.
    unsafe { librdkafka::rd_kafka_UserScramCredentialDeletion_new(user.as_ptr(), mechanism) }
}

type Alteration = librdkafka::rd_kafka_UserScramCredentialAlteration_t;
type Binding = librdkafka::rd_kafka_AclBinding_t;

impl Admin {
    /// Changes credentials of one user, one for each mechanism.
    fn alter(
        &self,
        user: &str,
        mechanisms: Vec<Mechanism>,
        make: impl Fn(&CStr, Mechanism) -> *mut Alteration,
    ) -> Result<()> {
        let user = CString::new(user).context("a name with a zero byte")?;
        let made = mechanisms.into_iter().map(|mechanism| make(&user, mechanism)).collect();
        let mut alterations =
            Owned(made, librdkafka::rd_kafka_UserScramCredentialAlteration_destroy);
        // SAFETY: the alterations live during the call, which copies them.
        let event = self.ask(|client, queue| unsafe {
            librdkafka::rd_kafka_AlterUserScramCredentials(
                client,
                alterations.0.as_mut_ptr(),
                alterations.0.len(),
                ptr::null(),
                queue,
            );
        })?;
        // SAFETY: the event is of this request; what it holds lives as long as it does.
        unsafe {
            let result = librdkafka::rd_kafka_event_AlterUserScramCredentials_result(event.0);
            let mut count = 0;
            let responses =
                librdkafka::rd_kafka_AlterUserScramCredentials_result_responses(result, &mut count);
            for response in items(responses, count) {
                check(librdkafka::rd_kafka_AlterUserScramCredentials_result_response_error(
                    *response,
                ))?;
            }
        }
        Ok(())
    }

    fn users(&self) -> Result<Vec<User>> {
        // SAFETY: no users named means all of them.
        let event = self.ask(|client, queue| unsafe {
            let all = ptr::null_mut();
            librdkafka::rd_kafka_DescribeUserScramCredentials(client, all, 0, ptr::null(), queue);
        })?;
        let mut users = Vec::new();
        // SAFETY: the event is of this request; what it holds lives as long as it does.
        unsafe {
            let result = librdkafka::rd_kafka_event_DescribeUserScramCredentials_result(event.0);
            let mut count = 0;
            let descriptions =
                librdkafka::rd_kafka_DescribeUserScramCredentials_result_descriptions(
                    result, &mut count,
                );
            for description in items(descriptions, count) {
                users.push(described(*description)?);
            }
        }
        users.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(users)
    }

    fn create_acls(&self, user: &str, resources: &[(Resource, String)]) -> Result<()> {
        let mut bindings = Owned(Vec::new(), librdkafka::rd_kafka_AclBinding_destroy);
        for (resource, name) in resources {
            bindings.0.push(binding(user, *resource, name)?);
        }
        // SAFETY: the bindings live during the call, which copies them.
        let event = self.ask(|client, queue| unsafe {
            let (first, count) = (bindings.0.as_mut_ptr(), bindings.0.len());
            librdkafka::rd_kafka_CreateAcls(client, first, count, ptr::null(), queue);
        })?;
        // SAFETY: the event is of this request; what it holds lives as long as it does.
        unsafe {
            let result = librdkafka::rd_kafka_event_CreateAcls_result(event.0);
            let mut count = 0;
            let outcomes = librdkafka::rd_kafka_CreateAcls_result_acls(result, &mut count);
            for outcome in items(outcomes, count) {
                check(librdkafka::rd_kafka_acl_result_error(*outcome))?;
            }
        }
        Ok(())
    }

    fn delete_acls(&self, user: &str) -> Result<()> {
        let mut filters = Owned(vec![filter(user)?], librdkafka::rd_kafka_AclBinding_destroy);
        // SAFETY: the filter lives during the call, which copies it.
        let event = self.ask(|client, queue| unsafe {
            librdkafka::rd_kafka_DeleteAcls(client, filters.0.as_mut_ptr(), 1, ptr::null(), queue);
        })?;
        // SAFETY: the event is of this request; what it holds lives as long as it does.
        unsafe {
            let result = librdkafka::rd_kafka_event_DeleteAcls_result(event.0);
            let mut count = 0;
            let responses = librdkafka::rd_kafka_DeleteAcls_result_responses(result, &mut count);
            for response in items(responses, count) {
                check(librdkafka::rd_kafka_DeleteAcls_result_response_error(*response))?;
            }
        }
        Ok(())
    }
}

/// # Safety
/// The description must live.
unsafe fn described(
    description: *const librdkafka::rd_kafka_UserScramCredentialsDescription_t,
) -> Result<User> {
    // SAFETY: as the caller promises; infos live as long as the description.
    unsafe {
        check(librdkafka::rd_kafka_UserScramCredentialsDescription_error(description))?;
        let count = librdkafka::rd_kafka_UserScramCredentialsDescription_scramcredentialinfo_count(
            description,
        );
        let mut mechanisms = Vec::new();
        for index in 0..count {
            let info = librdkafka::rd_kafka_UserScramCredentialsDescription_scramcredentialinfo(
                description,
                index,
            );
            let found = librdkafka::rd_kafka_ScramCredentialInfo_mechanism(info);
            let known = MECHANISMS.iter().find(|(mechanism, _)| *mechanism == found);
            mechanisms.extend(known.map(|(_, name)| *name));
        }
        let user = librdkafka::rd_kafka_UserScramCredentialsDescription_user(description);
        Ok(User { name: text(user), mechanisms })
    }
}

fn binding(user: &str, resource: Resource, name: &str) -> Result<*mut Binding> {
    let kind = match resource {
        Resource::Topic => NativeResource::RD_KAFKA_RESOURCE_TOPIC,
        Resource::Group => NativeResource::RD_KAFKA_RESOURCE_GROUP,
        Resource::TransactionalId => NativeResource::RD_KAFKA_RESOURCE_TRANSACTIONAL_ID,
        Resource::Cluster => NativeResource::RD_KAFKA_RESOURCE_BROKER,
    };
    let (name, principal) = (CString::new(name)?, CString::new(format!("User:{user}"))?);
    let mut message: Message = [0; MESSAGE_BYTES_MAX];
    // SAFETY: the strings live during the call, which copies them.
    let binding = unsafe {
        librdkafka::rd_kafka_AclBinding_new(
            kind,
            name.as_ptr(),
            PatternType::RD_KAFKA_RESOURCE_PATTERN_LITERAL,
            principal.as_ptr(),
            c"*".as_ptr(),
            AclOperation::RD_KAFKA_ACL_OPERATION_ALL,
            AclPermission::RD_KAFKA_ACL_PERMISSION_TYPE_ALLOW,
            message.as_mut_ptr(),
            message.len(),
        )
    };
    made(binding, &message)
}

/// Every ACL that names the user.
fn filter(user: &str) -> Result<*mut Binding> {
    let principal = CString::new(format!("User:{user}"))?;
    let mut message: Message = [0; MESSAGE_BYTES_MAX];
    // SAFETY: the string lives during the call, which copies it; null leaves a part open.
    let filter = unsafe {
        librdkafka::rd_kafka_AclBindingFilter_new(
            NativeResource::RD_KAFKA_RESOURCE_ANY,
            ptr::null(),
            PatternType::RD_KAFKA_RESOURCE_PATTERN_ANY,
            principal.as_ptr(),
            ptr::null(),
            AclOperation::RD_KAFKA_ACL_OPERATION_ANY,
            AclPermission::RD_KAFKA_ACL_PERMISSION_TYPE_ANY,
            message.as_mut_ptr(),
            message.len(),
        )
    };
    made(filter, &message)
}

fn made(binding: *mut Binding, message: &Message) -> Result<*mut Binding> {
    if binding.is_null() {
        // SAFETY: librdkafka ends the message with a zero byte within its room.
        bail!("{}", unsafe { text(message.as_ptr()) });
    }
    Ok(binding)
}
