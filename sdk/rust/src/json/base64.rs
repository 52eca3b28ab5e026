//! Base64 (RFC 4648, section 4, padded), in which JSON carries binaries.

/// Appends what `text` stands for. None: it is not base64; `data` is as before.
pub(super) fn decode(text: &[u8], data: &mut Vec<u8>) -> Option<()> {
    if !text.len().is_multiple_of(4) {
        return None;
    }
    let padding = text.iter().rev().take(2).take_while(|&&byte| byte == b'=').count();
    let start = data.len();
    for (index, group) in text.chunks_exact(4).enumerate() {
        let last = (index + 1) * 4 == text.len();
        let padding = if last { padding } else { 0 };
        let decoded = decode_group(group, padding);
        let Some(bytes) = decoded else {
            data.truncate(start);
            return None;
        };
        data.extend_from_slice(&bytes[..3 - padding]);
    }
    Some(())
}

fn decode_group(group: &[u8], padding: usize) -> Option<[u8; 3]> {
    let mut bits = 0u32;
    for &letter in &group[..4 - padding] {
        bits = bits << 6 | u32::from(value_of(letter)?);
    }
    let bits = bits << (6 * padding);
    Some([(bits >> 16) as u8, (bits >> 8) as u8, bits as u8])
}

fn value_of(letter: u8) -> Option<u8> {
    match letter {
        b'A'..=b'Z' => Some(letter - b'A'),
        b'a'..=b'z' => Some(letter - b'a' + 26),
        b'0'..=b'9' => Some(letter - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::decode;

    #[test]
    fn the_vectors_of_the_rfc_and_mistakes() {
        let cases: [(&str, &str); 7] = [
            ("", ""),
            ("Zg==", "f"),
            ("Zm8=", "fo"),
            ("Zm9v", "foo"),
            ("Zm9vYg==", "foob"),
            ("Zm9vYmE=", "fooba"),
            ("Zm9vYmFy", "foobar"),
        ];
        for (text, plain) in cases {
            let mut data = Vec::new();
            assert_eq!(decode(text.as_bytes(), &mut data), Some(()), "{text}");
            assert_eq!(data, plain.as_bytes());
        }
        for text in ["Z", "Zg", "Zg=", "Zg==Zg==", "====", "Z===", "Zm9v!m9v", "Zm9\u{e9}"] {
            let mut data = vec![7];
            assert_eq!(decode(text.as_bytes(), &mut data), None, "{text}");
            assert_eq!(data, [7]);
        }
    }
}
