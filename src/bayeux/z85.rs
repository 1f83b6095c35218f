//! Bytes as text: Z85 (<https://rfc.zeromq.org/spec/32/>), with CometD's padding for
//! lengths that are no multiple of four: of the last group only the characters
//! that its bytes need are written.

/// Four bytes are five characters.
const BYTES: usize = 4;
const CHARACTERS: usize = 5;

const ALPHABET: &[u8; 85] =
    b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#";
const NONE: u8 = u8::MAX;

/// What each character stands for; `NONE` for those that are none of Z85's.
const VALUES: [u8; 256] = {
    let mut values = [NONE; 256];
    let mut value = 0;
    while value < ALPHABET.len() {
        values[ALPHABET[value] as usize] = value as u8;
        value += 1;
    }
    values
};

/// Why a text is no Z85.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Z85Error {
    /// A character that Z85 does not have.
    Character,
    /// A single character behind the last whole group.
    Length,
    /// A group that is more than four bytes can hold.
    Overflow,
}

/// How many characters so many bytes become.
pub fn encoded_length(bytes: usize) -> usize {
    bytes.saturating_add(bytes.div_ceil(BYTES))
}

pub fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(encoded_length(bytes.len()));
    for group in bytes.chunks(BYTES) {
        let mut padded = [0; BYTES];
        for (to, from) in padded.iter_mut().zip(group) {
            *to = *from;
        }
        let mut rest = u32::from_be_bytes(padded);
        let mut characters = [0; CHARACTERS];
        for character in characters.iter_mut().rev() {
            // The remainder is less than the alphabet is long.
            *character = ALPHABET[(rest % 85) as usize];
            rest /= 85;
        }
        let needed = characters.iter().take(group.len() + 1);
        text.extend(needed.map(|it| char::from(*it)));
    }
    text
}

pub fn decode(text: &str) -> Result<Vec<u8>, Z85Error> {
    let mut bytes = Vec::with_capacity(text.len() / CHARACTERS * BYTES + BYTES);
    for group in text.as_bytes().chunks(CHARACTERS) {
        let mut number: u64 = 0;
        let padding = std::iter::repeat(&b'#');
        for character in group.iter().chain(padding).take(CHARACTERS) {
            let value = VALUES[usize::from(*character)];
            if value == NONE {
                return Err(Z85Error::Character);
            }
            // 85 to the fifth is less than 64 bits hold.
            number = number * 85 + u64::from(value);
        }
        if group.len() == 1 {
            return Err(Z85Error::Length);
        }
        let number = u32::try_from(number).map_err(|_| Z85Error::Overflow)?;
        bytes.extend(number.to_be_bytes().iter().take(group.len() - 1));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_216() {
        let vectors: [(&[u8], &str); 8] = [
            (b"", ""),
            (b"\x00", "00"),
            (b"\xff", "@@"),
            (b"\x86", "H5"),
            (b"\x86\x4f", "Hed"),
            (b"\x86\x4f\xd2", "Helj"),
            (b"\xff\xff\xff\xff", "%nSc0"),
            (b"\x86\x4f\xd2\x6f\xb5\x59\xf7\x5b", "HelloWorld"),
        ];
        for (bytes, text) in vectors {
            assert_eq!(encode(bytes), text);
            assert_eq!(decode(text).unwrap(), bytes, "{text}");
        }
    }

    #[test]
    fn all_lengths_come_back_216() {
        let mut random: u64 = 1;
        for length in (0..=260).step_by(if cfg!(miri) { 37 } else { 1 }) {
            let bytes: Vec<u8> = std::iter::repeat_with(|| {
                random = random.wrapping_mul(6_364_136_223_846_793_005) + 1;
                (random >> 56) as u8
            })
            .take(length)
            .collect();
            let extremes = [vec![0; length], vec![0xff; length]];
            for bytes in extremes.into_iter().chain([bytes]) {
                let text = encode(&bytes);
                assert_eq!(text.len(), encoded_length(length));
                assert_eq!(decode(&text).unwrap(), bytes, "{text}");
            }
        }
    }

    #[test]
    fn the_last_group_holds_each_pair_of_bytes_216() {
        for pair in (0..=u16::MAX).step_by(if cfg!(miri) { 4_000 } else { 1 }) {
            let bytes = pair.to_be_bytes();
            assert_eq!(decode(&encode(&bytes)).unwrap(), bytes);
            let three = [0xff, bytes[0], bytes[1]];
            assert_eq!(decode(&encode(&three)).unwrap(), three);
        }
    }

    #[test]
    fn characters_that_z85_does_not_have_are_refused_216() {
        for byte in 0..=u8::MAX {
            // One that is not ASCII is several bytes.
            let text = format!("Hel{}o", char::from(byte));
            let is_known = ALPHABET.contains(&byte);
            match decode(&text) {
                Ok(_) => assert!(is_known, "{text:?}"),
                Err(error) => assert_eq!((error, is_known), (Z85Error::Character, false)),
            }
            let alone = char::from(byte).to_string();
            assert!(decode(&alone).is_err());
        }
    }

    #[test]
    fn lengths_of_which_one_is_left_over_are_refused_216() {
        for text in ["0", "HelloW", "HelloWorld0"] {
            assert_eq!(decode(text), Err(Z85Error::Length), "{text}");
        }
    }

    #[test]
    fn groups_above_four_bytes_are_refused_216() {
        for text in ["%nSc1", "#####", "%o000", "##", "###", "####", "%n"] {
            assert_eq!(decode(text), Err(Z85Error::Overflow), "{text}");
        }
        assert_eq!(decode("Hello####"), Err(Z85Error::Overflow));
    }
}
