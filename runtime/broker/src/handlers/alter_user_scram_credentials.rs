//! AlterUserScramCredentials (api code 51, v0, KIP-554): makes, changes and removes what users log
//! in with.
//!
//! - Needs Alter on the cluster. The client salts the password, we keep what checks it. A user whose
//!   last credential goes is gone. On disk and in force when answered.
//! - All changes of a user are made or none; users are independent of one another.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::sync::Arc;

use anyhow::Result as Stored;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::alter_user_scram_credentials_request::{
    ScramCredentialDeletion, ScramCredentialUpsertion,
};
use kafka_protocol::messages::alter_user_scram_credentials_response::AlterUserScramCredentialsResult;
use kafka_protocol::messages::{
    AlterUserScramCredentialsRequest, AlterUserScramCredentialsResponse,
};
use kafka_protocol::protocol::StrBytes;

use super::create_acls::not_stored;
use crate::auth::acl::Operation;
use crate::auth::credentials::{SALT_BYTES_MAX, USER_NAME_BYTES_MAX, UserCredentials, Users};
use crate::auth::scram::{ITERATIONS_MAX, ITERATIONS_MIN, ScramCredential, ScramMechanism};
use crate::broker::Broker;
use crate::refusal::Refusal;
use crate::session::Session;

/// What one user's credential shall become.
enum Change {
    Set(ScramCredential),
    Remove(ScramMechanism),
}

type Outcome = Result<(), Refusal>;

pub(super) async fn handle(
    broker: Arc<Broker>,
    session: Session,
    request: AlterUserScramCredentialsRequest,
) -> AlterUserScramCredentialsResponse {
    let allowed = session.authorize_cluster(Operation::Alter);
    let asked = match allowed {
        Ok(()) => read_all(&request),
        Err(error) => names(&request)
            .map(|name| (name, Err(Refusal::new(error, "Request is not authorized."))))
            .collect(),
    };
    let users: Vec<String> = asked.keys().map(|name| name.to_string()).collect();
    let working = tokio::task::spawn_blocking(move || apply(&broker, asked));
    let outcomes = match working.await.unwrap_or_else(|error| Err(error.into())) {
        Ok(outcomes) => outcomes,
        Err(error) => {
            let refusal = not_stored(error);
            names(&request).map(|name| (name, Err(refusal.clone()))).collect()
        }
    };
    tracing::info!(by = session.principal.to_string(), ?users, "credentials altered");
    let result = |(user, outcome): (StrBytes, Outcome)| {
        let result = AlterUserScramCredentialsResult::default().with_user(user);
        match outcome {
            Ok(()) => result.with_error_message(None),
            Err(refusal) => {
                result.with_error_code(refusal.error.code()).with_error_message(refusal.text())
            }
        }
    };
    let results = outcomes.into_iter().map(result).collect();
    AlterUserScramCredentialsResponse::default().with_results(results)
}

/// Every user named, each once.
fn names(request: &AlterUserScramCredentialsRequest) -> impl Iterator<Item = StrBytes> {
    let deleted = request.deletions.iter().map(|it| it.name.clone());
    let upserted = request.upsertions.iter().map(|it| it.name.clone());
    deleted.chain(upserted).collect::<BTreeSet<_>>().into_iter()
}

/// The changes of each user, or the first thing that is wrong with them.
fn read_all(
    request: &AlterUserScramCredentialsRequest,
) -> BTreeMap<StrBytes, Result<Vec<Change>, Refusal>> {
    let mut seen = BTreeSet::new();
    let mut users: BTreeMap<StrBytes, Result<Vec<Change>, Refusal>> = BTreeMap::new();
    let deletions = request.deletions.iter().map(|it| (&it.name, it.mechanism, deletion(it)));
    let upsertions = request.upsertions.iter().map(|it| (&it.name, it.mechanism, upsertion(it)));
    for (name, mechanism, change) in deletions.chain(upsertions) {
        let change = match seen.insert((name, mechanism)) {
            true => change,
            false => Err(Refusal::new(
                ResponseError::DuplicateResource,
                "A user credential cannot be altered twice in the same request",
            )),
        };
        let changes = users.entry(name.clone()).or_insert_with(|| Ok(Vec::new()));
        match (changes, change) {
            (Ok(changes), Ok(change)) => changes.push(change),
            (Err(_), _) => {}
            (changes, Err(refusal)) => *changes = Err(refusal),
        }
    }
    users
}

fn deletion(asked: &ScramCredentialDeletion) -> Result<Change, Refusal> {
    check_name(&asked.name)?;
    mechanism(asked.mechanism).map(Change::Remove)
}

fn upsertion(asked: &ScramCredentialUpsertion) -> Result<Change, Refusal> {
    let unacceptable = |message: &str| Refusal::new(ResponseError::UnacceptableCredential, message);
    check_name(&asked.name)?;
    let mechanism = mechanism(asked.mechanism)?;
    let iterations = u32::try_from(asked.iterations).ok().and_then(NonZeroU32::new);
    let iterations = match iterations {
        Some(count) if count.get() > ITERATIONS_MAX => Err(unacceptable("Too many iterations")),
        Some(count) if count.get() >= ITERATIONS_MIN => Ok(count),
        _ => Err(unacceptable("Too few iterations")),
    }?;
    if asked.salt.is_empty() || asked.salt.len() > SALT_BYTES_MAX {
        return Err(unacceptable("The salt has no bytes, or too many"));
    }
    if asked.salted_password.len() != mechanism.hash_bytes() {
        return Err(unacceptable("The salted password is not as long as the mechanism's hash"));
    }
    let salted = &asked.salted_password;
    Ok(Change::Set(ScramCredential::from_salted(mechanism, salted, &asked.salt, iterations)))
}

fn check_name(name: &str) -> Outcome {
    let refuse = |message: String| Refusal::new(ResponseError::UnacceptableCredential, message);
    if name.is_empty() {
        return Err(refuse("Username must not be empty".to_owned()));
    }
    if name.len() > USER_NAME_BYTES_MAX {
        let message = format!("Username must not be longer than {USER_NAME_BYTES_MAX} bytes");
        return Err(refuse(message));
    }
    Ok(())
}

fn mechanism(code: i8) -> Result<ScramMechanism, Refusal> {
    ScramMechanism::from_code(code).ok_or_else(|| {
        Refusal::new(ResponseError::UnsupportedSaslMechanism, "Unknown SCRAM mechanism")
    })
}

fn apply(
    broker: &Broker,
    asked: BTreeMap<StrBytes, Result<Vec<Change>, Refusal>>,
) -> Stored<BTreeMap<StrBytes, Outcome>> {
    broker.credentials().change(|users: &mut Users| {
        let change = |(name, changes): (StrBytes, Result<Vec<Change>, Refusal>)| {
            let outcome = changes.and_then(|changes| {
                let user = users.entry(name.to_string()).or_default();
                let mut altered = user.clone();
                changes.into_iter().try_for_each(|change| apply_one(&mut altered, change))?;
                *user = altered;
                Ok(())
            });
            (name, outcome)
        };
        Ok(asked.into_iter().map(change).collect())
    })
}

fn apply_one(user: &mut UserCredentials, change: Change) -> Outcome {
    match change {
        Change::Set(credential) => {
            user.insert(credential.mechanism, credential);
        }
        Change::Remove(mechanism) => {
            user.remove(&mechanism).ok_or_else(|| {
                Refusal::new(
                    ResponseError::ResourceNotFound,
                    "Attempt to delete a user credential that does not exist",
                )
            })?;
        }
    }
    Ok(())
}
