//! The subject of a client's certificate as text, for its principal.
//!
//! Written as Java's `X500Principal.getName()` does (RFC 2253), which is what Kafka's brokers show
//! to ACLs: last part first, `CN=app,OU=mill,O=Example`. Types without a name in RFC 2253 are
//! written by number, their values in hexadecimal.

use anyhow::{Context, Result, bail, ensure};

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OBJECT_IDENTIFIER: u8 = 0x06;
const VERSION: u8 = 0xa0;
const UTF8_STRING: u8 = 0x0c;
const PRINTABLE_STRING: u8 = 0x13;
const TELETEX_STRING: u8 = 0x14;
const IA5_STRING: u8 = 0x16;
const BMP_STRING: u8 = 0x1e;

/// The subject of a certificate in DER.
pub(crate) fn subject(certificate: &[u8]) -> Result<String> {
    let mut outer = Reader(certificate);
    let mut certificate = Reader(outer.expect(SEQUENCE)?);
    let mut signed = Reader(certificate.expect(SEQUENCE)?);
    if signed.0.first() == Some(&VERSION) {
        signed.next()?;
    }
    // serial number, signature algorithm, issuer, validity
    for _ in 0..4 {
        signed.next()?;
    }
    name(signed.expect(SEQUENCE)?)
}

fn name(content: &[u8]) -> Result<String> {
    let mut parts = Vec::new();
    let mut name = Reader(content);
    while !name.0.is_empty() {
        let mut set = Reader(name.expect(SET)?);
        let mut values = Vec::new();
        while !set.0.is_empty() {
            values.push(type_and_value(set.expect(SEQUENCE)?)?);
        }
        parts.push(values.join("+"));
    }
    parts.reverse();
    Ok(parts.join(","))
}

fn type_and_value(content: &[u8]) -> Result<String> {
    let mut pair = Reader(content);
    let identifier = pair.expect(OBJECT_IDENTIFIER)?;
    let whole = pair.0;
    let (tag, value) = pair.next()?;
    Ok(match (short_name(identifier), text(tag, value)) {
        (Some(name), Some(value)) => format!("{name}={}", escaped(&value)),
        (name, _) => {
            let name = name.map_or_else(|| dotted(identifier), str::to_owned);
            let hex: String = whole.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("{name}=#{hex}")
        }
    })
}

/// The types that RFC 2253 names.
fn short_name(identifier: &[u8]) -> Option<&'static str> {
    Some(match identifier {
        [0x55, 4, 3] => "CN",
        [0x55, 4, 6] => "C",
        [0x55, 4, 7] => "L",
        [0x55, 4, 8] => "ST",
        [0x55, 4, 9] => "STREET",
        [0x55, 4, 10] => "O",
        [0x55, 4, 11] => "OU",
        [0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 1] => "UID",
        [0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 25] => "DC",
        _ => return None,
    })
}

/// `1.2.840.113549.1.9.1`.
fn dotted(identifier: &[u8]) -> String {
    let mut numbers = Vec::new();
    let mut number = 0u64;
    for byte in identifier {
        number = number.wrapping_shl(7) | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            if numbers.is_empty() {
                let first = (number / 40).min(2);
                numbers.push(first);
                number -= first * 40;
            }
            numbers.push(number);
            number = 0;
        }
    }
    numbers.iter().map(u64::to_string).collect::<Vec<_>>().join(".")
}

fn text(tag: u8, value: &[u8]) -> Option<String> {
    match tag {
        UTF8_STRING | PRINTABLE_STRING | IA5_STRING => String::from_utf8(value.to_vec()).ok(),
        TELETEX_STRING => Some(value.iter().map(|byte| char::from(*byte)).collect()),
        BMP_STRING => {
            let units = value.chunks(2).map(|pair| match pair {
                [high, low] => u16::from_be_bytes([*high, *low]),
                _ => 0xd800, // half a character is none
            });
            String::from_utf16(&units.collect::<Vec<_>>()).ok()
        }
        _ => None,
    }
}

/// RFC 2253, section 2.4.
fn escaped(value: &str) -> String {
    let mut text = String::new();
    let last = value.chars().count().saturating_sub(1);
    for (place, character) in value.chars().enumerate() {
        let at_the_edge = (place == 0 && (character == '#' || character == ' '))
            || (place == last && character == ' ');
        if at_the_edge || matches!(character, ',' | '+' | '"' | '\\' | '<' | '>' | ';') {
            text.push('\\');
        }
        text.push(character);
    }
    text
}

/// Values of DER, one after the other.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// The tag and content of the next value.
    fn next(&mut self) -> Result<(u8, &'a [u8])> {
        let [tag, length, rest @ ..] = self.0 else { bail!("a certificate that ends too early") };
        ensure!(tag & 0x1f != 0x1f, "a tag of several bytes in a certificate");
        let (length, rest) = match length {
            0..=0x7f => (usize::from(*length), rest),
            0x81..=0x83 => {
                let digits = usize::from(length & 0x7f);
                let (digits, rest) =
                    rest.split_at_checked(digits).context("a certificate that ends too early")?;
                (digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)), rest)
            }
            _ => bail!("a value of more than 16 MiB in a certificate"),
        };
        let (content, rest) =
            rest.split_at_checked(length).context("a certificate that ends too early")?;
        self.0 = rest;
        Ok((*tag, content))
    }

    fn expect(&mut self, expected: u8) -> Result<&'a [u8]> {
        let (tag, content) = self.next()?;
        ensure!(tag == expected, "tag {tag:#x} instead of {expected:#x} in a certificate");
        Ok(content)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};

    use super::*;

    fn certificate(parts: &[(DnType, &str)]) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        for (kind, value) in parts {
            params.distinguished_name.push(kind.clone(), *value);
        }
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn a_subject_is_written_last_part_first() {
        let der = certificate(&[
            (DnType::CountryName, "DE"),
            (DnType::OrganizationName, "Mill & Sons, Ltd."),
            (DnType::CommonName, "orders-app"),
        ]);
        assert_eq!(subject(&der).unwrap(), "CN=orders-app,O=Mill & Sons\\, Ltd.,C=DE");
    }

    #[test]
    fn edges_and_unknown_types_are_escaped() {
        assert_eq!(escaped("#a "), "\\#a\\ ");
        assert_eq!(escaped(" "), "\\ ");
        let email = DnType::CustomDnType(vec![1, 2, 840, 113549, 1, 9, 1]);
        let der = certificate(&[(email, "a@b"), (DnType::CommonName, "app")]);
        assert_eq!(subject(&der).unwrap(), "CN=app,1.2.840.113549.1.9.1=#0c03614062");
    }

    #[test]
    fn cut_and_damaged_certificates_never_panic() {
        let der = certificate(&[(DnType::CommonName, "orders-app")]);
        for end in 0..der.len() / 2 {
            let _ = subject(&der[..end]);
        }
        for place in 0..der.len().min(300) {
            for damage in [0x00, 0x1f, 0x80, 0xff] {
                let mut damaged = der.clone();
                damaged[place] ^= damage;
                let _ = subject(&damaged);
            }
        }
        assert!(subject(&[]).is_err());
    }
}
