//! The one message of the PLAIN mechanism (RFC 4616).

use anyhow::{Context, Result, bail, ensure};

/// Who somebody claims to be, and the proof. Not `Debug`: it holds a secret.
pub(crate) struct PlainToken {
    pub(crate) user: String,
    pub(crate) secret: String,
}

/// Reads `[authorization id] NUL user NUL secret`. Acting for somebody else is not offered: an
/// authorization id must be the user itself, as in Kafka.
pub(crate) fn parse(token: &[u8]) -> Result<PlainToken> {
    let text = std::str::from_utf8(token).context("a PLAIN token that is not UTF-8")?;
    let parts: Vec<&str> = text.split('\0').take(4).collect();
    let [acting_for, user, secret] = parts[..] else {
        bail!("a PLAIN token of {} parts instead of 3", parts.len());
    };
    ensure!(!user.is_empty(), "a PLAIN token without a user name");
    ensure!(!secret.is_empty(), "a PLAIN token without a secret");
    ensure!(acting_for.is_empty() || acting_for == user, "acting for another user is not offered");
    Ok(PlainToken { user: user.to_owned(), secret: secret.to_owned() })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_token_has_a_user_and_a_secret() {
        for good in [&b"\0tim\0tanstaaf"[..], b"tim\0tim\0tanstaaf"] {
            let token = parse(good).unwrap();
            assert_eq!((token.user.as_str(), token.secret.as_str()), ("tim", "tanstaaf"));
        }
    }

    #[test]
    fn malformed_tokens_are_refused() {
        let bad: [&[u8]; 8] = [
            b"",
            b"tim",
            b"\0tim",
            b"\0tim\0",
            b"\0\0secret",
            b"kurt\0tim\0secret",
            b"\0tim\0secret\0more",
            b"\0\xff\0secret",
        ];
        for token in bad {
            assert!(parse(token).is_err(), "{token:?}");
        }
    }
}
