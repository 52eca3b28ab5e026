//! DescribeUserScramCredentials (api code 50, v0, KIP-554): which users can log in, and how.
//!
//! - Needs Describe on the cluster. No users named: all of them. Neither salts nor keys are told.

use std::collections::BTreeSet;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_user_scram_credentials_response::{
    CredentialInfo, DescribeUserScramCredentialsResult,
};
use kafka_protocol::messages::{
    DescribeUserScramCredentialsRequest, DescribeUserScramCredentialsResponse,
};
use kafka_protocol::protocol::StrBytes;

use crate::auth::acl::Operation;
use crate::auth::credentials::UserCredentials;
use crate::broker::Broker;
use crate::refusal::Refusal;
use crate::session::Session;

pub(super) fn handle(
    broker: &Broker,
    session: &Session,
    request: DescribeUserScramCredentialsRequest,
) -> DescribeUserScramCredentialsResponse {
    let response = DescribeUserScramCredentialsResponse::default().with_error_message(None);
    if let Err(error) = session.authorize_cluster(Operation::Describe) {
        return response
            .with_error_code(error.code())
            .with_error_message(Some(StrBytes::from_static_str("Request is not authorized.")));
    }
    let users = broker.credentials().users();
    let asked = request.users.unwrap_or_default();
    if asked.is_empty() {
        let all = users
            .iter()
            .map(|(name, credentials)| described(StrBytes::from_string(name.clone()), credentials));
        return response.with_results(all.collect());
    }
    let mut seen = BTreeSet::new();
    let (mut once, mut twice) = (BTreeSet::new(), BTreeSet::new());
    for user in asked {
        let of = if seen.insert(user.name.clone()) { &mut once } else { &mut twice };
        of.insert(user.name);
    }
    let one = |name: StrBytes| {
        let refuse = |error, what: &str| {
            refused(name.clone(), &Refusal::new(error, format!("{what}: {}", &*name)))
        };
        match users.get(name.as_str()) {
            _ if twice.contains(&name) => refuse(
                ResponseError::DuplicateResource,
                "Cannot describe SCRAM credentials for the same user twice in a single request",
            ),
            Some(credentials) => described(name, credentials),
            None => refuse(
                ResponseError::ResourceNotFound,
                "Attempt to describe a user credential that does not exist",
            ),
        }
    };
    response.with_results(once.into_iter().map(one).collect())
}

fn described(user: StrBytes, credentials: &UserCredentials) -> DescribeUserScramCredentialsResult {
    let infos = credentials.values().map(|credential| {
        CredentialInfo::default()
            .with_mechanism(credential.mechanism.code())
            .with_iterations(credential.iterations.get() as i32)
    });
    DescribeUserScramCredentialsResult::default()
        .with_user(user)
        .with_error_message(None)
        .with_credential_infos(infos.collect())
}

fn refused(user: StrBytes, refusal: &Refusal) -> DescribeUserScramCredentialsResult {
    DescribeUserScramCredentialsResult::default()
        .with_user(user)
        .with_error_code(refusal.error.code())
        .with_error_message(refusal.text())
}
