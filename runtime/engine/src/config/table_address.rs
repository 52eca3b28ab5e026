//! Where a Delta table is: a folder of this machine or a URI of an object store.

use std::path::Path;

use super::document::Written;
use super::report::Report;
use super::suggestion::did_you_mean;

/// What a URI may begin with. Which of them this binary can write to is for the sink to say.
const SCHEMES: [&str; 11] =
    ["s3", "s3a", "gs", "az", "azure", "abfs", "abfss", "adl", "hdfs", "file", "memory"];

/// A URI as it is, a path made absolute; `None` if it is neither, which is reported.
///
/// `address`: what is written, with everything put in. Messages show what is written.
pub(super) fn resolve(
    written: &Written<String>,
    address: &str,
    folder: &Path,
    report: &Report,
) -> Option<String> {
    let (message, help) = match address.split_once("://") {
        None => match absolute(folder, address) {
            Some(path) => return Some(path),
            None => (
                "the folder of this file is not UTF-8 text".to_string(),
                "name the table by an absolute path".to_string(),
            ),
        },
        Some((scheme, _)) if !SCHEMES.contains(&scheme) => (
            format!("`{}`: no such kind of storage", written.value),
            did_you_mean(scheme, SCHEMES, || {
                "write a path, or for example `s3://bucket/orders`".to_string()
            }),
        ),
        Some((_, rest)) if has_password(rest) => (
            "a secret in a table's address would be shown in logs".to_string(),
            "put it into `storage`, as `${VAR}`".to_string(),
        ),
        Some(_) => return Some(address.to_string()),
    };
    report.error_with_help(written.span.clone(), message, help);
    None
}

fn absolute(folder: &Path, address: &str) -> Option<String> {
    let path = folder.join(address);
    std::path::absolute(&path).unwrap_or(path).into_os_string().into_string().ok()
}

/// `user:password@host/…`
fn has_password(rest: &str) -> bool {
    let host = rest.split('/').next().unwrap_or_default();
    host.rsplit_once('@').is_some_and(|(user, _)| user.contains(':'))
}
