//! Tables on S3, or on a store that speaks its protocol: the way to the bucket, tried out before
//! anything starts.
//!
//! Settings are those of the sink's `storage`, and where it is silent the variables `AWS_…` that
//! other tools read too.
//!
//! Invariant: a log entry is made with `If-None-Match: *`, so that of two writers one gets the
//! version. A store that takes the header and does not heed it would lose rows; it is found out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Error, Result, anyhow, bail};
use deltalake::{ObjectStore, ObjectStoreError, Path};
use futures::TryStreamExt;
use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey, S3ConditionalPut};
use object_store::{ClientConfigKey, ObjectStoreExt, PutMode, RetryConfig};

/// While a pipeline runs, a request is repeated for this long; after that the pipeline goes back to
/// what is committed and tries on from there.
const RUNNING: (usize, Duration) = (8, Duration::from_secs(30));

/// Before a pipeline runs, somebody waits for the answer.
const STARTING: (usize, Duration) = (2, Duration::from_secs(10));

/// Whether a table's address names a store of this kind.
pub(crate) fn is_s3(table: &str) -> bool {
    matches!(table.split_once("://"), Some(("s3" | "s3a", _)))
}

/// The bucket of a table, for a pipeline that runs.
pub(crate) fn open(table: &str, storage: &BTreeMap<String, String>) -> Result<Arc<AmazonS3>> {
    Ok(Arc::new(build(settings(table, storage)?, RUNNING)?))
}

/// Whether the table's folder can be written to by us and others at the same time. Leaves nothing
/// behind.
pub(crate) async fn check_writable(table: &str, storage: &BTreeMap<String, String>) -> Result<()> {
    let settings = settings(table, storage)?;
    let explain = |error: ObjectStoreError| explain(table, &settings, &error);
    let store = build(settings.clone(), STARTING)?;
    let probe = folder(table).join(format!(".gristmill-{}", uuid::Uuid::new_v4()));
    store.put_opts(&probe, "".into(), PutMode::Create.into()).await.map_err(explain)?;
    let again = store.put_opts(&probe, "".into(), PutMode::Create.into()).await;
    store.delete(&probe).await.map_err(explain)?;
    match again {
        Err(ObjectStoreError::AlreadyExists { .. }) => Ok(()),
        Err(error) => Err(explain(error)),
        Ok(_) => bail!(
            "the store of table `{table}` overwrites objects although it is told not to \
             (`If-None-Match: *`): two writers could take the same version of the table, and rows \
             would be lost; use a store that has conditional writes"
        ),
    }
}

/// Whether the bucket can be read.
pub(crate) async fn check_readable(table: &str, storage: &BTreeMap<String, String>) -> Result<()> {
    let settings = settings(table, storage)?;
    let store = build(settings.clone(), STARTING)?;
    let mut found = store.list(Some(&folder(table)));
    let first = found.try_next().await;
    first.map(drop).map_err(|error| explain(table, &settings, &error))
}

/// `bucket` and `lake/orders` of `s3://bucket/lake/orders`.
fn parts(table: &str) -> (&str, &str) {
    let address = table.split_once("://").map_or(table, |(_, address)| address);
    address.split_once('/').unwrap_or((address, ""))
}

fn bucket(table: &str) -> &str {
    parts(table).0
}

fn folder(table: &str) -> Path {
    Path::from(parts(table).1)
}

fn settings(table: &str, storage: &BTreeMap<String, String>) -> Result<AmazonS3Builder> {
    let mut settings = AmazonS3Builder::from_env();
    for (name, value) in storage {
        let key: AmazonS3ConfigKey = name.to_ascii_lowercase().parse().map_err(|_| {
            anyhow!(
                "table `{table}`: S3 has no option `{name}`; those most used in `storage` are `endpoint`, `region`, \
                 `access_key_id`, `secret_access_key`, `session_token` and `allow_http`"
            )
        })?;
        if matches!(key, AmazonS3ConfigKey::Bucket | AmazonS3ConfigKey::ConditionalPut) {
            bail!(
                "table `{table}`: option `{name}` cannot be set: the table's address names the bucket, \
                 and its log needs conditional writes"
            );
        }
        settings = settings.with_config(key, value);
    }
    let settings = settings.with_url(table).with_conditional_put(S3ConditionalPut::ETagMatch);
    let allows_http = settings
        .get_config_value(&AmazonS3ConfigKey::Client(ClientConfigKey::AllowHttp))
        .is_some_and(|value| ["true", "1", "yes", "on"].contains(&value.as_str()));
    match endpoint(&settings) {
        Some(endpoint) if endpoint.starts_with("http://") && !allows_http => bail!(
            "table `{table}`: `{endpoint}` is not encrypted; if that is meant, say so with \
             `allow_http = \"true\"` in `storage` or AWS_ALLOW_HTTP=true"
        ),
        Some(endpoint) if !endpoint.starts_with("http") => {
            bail!("table `{table}`: the endpoint `{endpoint}` is no URL such as https://host:9000")
        }
        _ => Ok(settings),
    }
}

/// The address of a store that is not Amazon's own.
fn endpoint(settings: &AmazonS3Builder) -> Option<String> {
    let keys = [AmazonS3ConfigKey::S3Endpoint, AmazonS3ConfigKey::Endpoint];
    keys.iter().find_map(|key| settings.get_config_value(key))
}

fn build(settings: AmazonS3Builder, (retries, time): (usize, Duration)) -> Result<AmazonS3> {
    let retry = RetryConfig { max_retries: retries, retry_timeout: time, ..RetryConfig::default() };
    settings.with_retry(retry).build().context("the settings of S3 do not fit together")
}

/// Names the bucket, the store or the credentials, whichever is at fault, and the mend.
fn explain(table: &str, settings: &AmazonS3Builder, error: &ObjectStoreError) -> Error {
    let bucket = bucket(table);
    let store = endpoint(settings).unwrap_or_else(|| "Amazon S3".to_string());
    let said = innermost(error);
    // Of a listing the crate tells the status in words alone.
    let has_status = |statuses: &[&str]| statuses.iter().any(|status| said.contains(status));
    let message = if has_status(&["404 Not Found"]) {
        format!("there is no bucket `{bucket}` at {store}: make it, or name another one")
    } else if has_status(&["403 Forbidden", "401 Unauthorized"]) {
        format!(
            "{store} refuses our credentials for bucket `{bucket}`: look at AWS_ACCESS_KEY_ID and \
             AWS_SECRET_ACCESS_KEY, or `access_key_id` and `secret_access_key` in `storage`, and at \
             what they may do"
        )
    } else if settings.get_config_value(&AmazonS3ConfigKey::AccessKeyId).is_none() {
        format!(
            "no access to bucket `{bucket}` at {store}, and no credentials: set AWS_ACCESS_KEY_ID and \
             AWS_SECRET_ACCESS_KEY, or `access_key_id` and `secret_access_key` in `storage`"
        )
    } else {
        format!("bucket `{bucket}` cannot be reached at {store}")
    };
    anyhow!("table `{table}`: {message} ({said})")
}

/// What the store said, or the network, without the request and the document around it.
fn innermost(error: &ObjectStoreError) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    let text = cause.to_string();
    text.split(": <?xml")
        .next()
        .and_then(|text| text.lines().next())
        .unwrap_or_default()
        .to_string()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn refusal(storage: &[(&str, &str)]) -> String {
        let storage = storage.iter().map(|(key, value)| (key.to_string(), value.to_string()));
        let opened = open("s3://lake/orders", &storage.collect());
        format!("{:#}", opened.map(drop).unwrap_err())
    }

    #[test]
    fn options_are_known_by_name_in_any_case_and_the_others_refused() {
        let storage =
            [("AWS_REGION", "eu-central-1"), ("access_key_id", "k"), ("secret_access_key", "s")];
        let storage = storage.map(|(key, value)| (key.to_string(), value.to_string()));
        assert!(open("s3://lake/orders", &storage.into()).is_ok());
        assert!(refusal(&[("acces_key", "k")]).contains("no option `acces_key`"));
        assert!(refusal(&[("conditional_put", "disabled")]).contains("conditional writes"));
        assert!(refusal(&[("bucket", "other")]).contains("the table's address names the bucket"));
    }

    #[test]
    fn an_endpoint_without_encryption_has_to_be_meant() {
        let said = refusal(&[("endpoint", "http://127.0.0.1:9000")]);
        assert!(said.contains("`http://127.0.0.1:9000` is not encrypted"), "{said}");
        assert!(said.contains("allow_http"), "{said}");
        assert!(refusal(&[("endpoint", "127.0.0.1:9000")]).contains("is no URL"));
    }

    #[test]
    fn the_folder_is_what_follows_the_bucket() {
        assert_eq!((bucket("s3://lake/a/b"), bucket("s3a://lake")), ("lake", "lake"));
        assert_eq!(folder("s3://lake/a/b").as_ref(), "a/b");
        assert_eq!(folder("s3a://lake").as_ref(), "");
    }
}
