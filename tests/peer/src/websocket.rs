//! Frames as they stand on the wire, also those that no library writes.

use base64::engine::general_purpose::STANDARD;
use base64::Engine;
use sha1::{Digest, Sha1};

pub const CONTINUATION: u8 = 0;
pub const TEXT: u8 = 1;
pub const BINARY: u8 = 2;
pub const CLOSE: u8 = 8;
pub const PING: u8 = 9;
pub const PONG: u8 = 10;

/// The most that is read of one frame.
const MAXIMUM_FRAME: u64 = 64 * 1024 * 1024;

/// What a server must answer to a Sec-WebSocket-Key.
pub fn accept(key: &str) -> String {
    let mut hash = Sha1::new();
    hash.update(key.as_bytes());
    hash.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    STANDARD.encode(hash.finalize())
}

/// Whether a Sec-WebSocket-Key is one: 16 bytes in base64.
pub fn is_key(key: &str) -> bool {
    STANDARD.decode(key).is_ok_and(|bytes| bytes.len() == 16)
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// More fragments of the message follow.
    pub more: bool,
    /// The three reserved bits, 0 to 7.
    pub reserved: u8,
    pub opcode: u8,
    pub mask: Option<[u8; 4]>,
    /// Said instead of the payload's own length.
    pub length: Option<u64>,
    pub payload: Vec<u8>,
}

impl Frame {
    pub fn new(opcode: u8, payload: impl Into<Vec<u8>>) -> Self {
        Self {
            more: false,
            reserved: 0,
            opcode,
            mask: None,
            length: None,
            payload: payload.into(),
        }
    }

    pub fn text(text: impl Into<String>) -> Self {
        Self::new(TEXT, text.into())
    }

    pub fn binary(bytes: impl Into<Vec<u8>>) -> Self {
        Self::new(BINARY, bytes)
    }

    pub fn ping(payload: impl Into<Vec<u8>>) -> Self {
        Self::new(PING, payload)
    }

    pub fn pong(payload: impl Into<Vec<u8>>) -> Self {
        Self::new(PONG, payload)
    }

    /// A close frame; without a code its payload is empty.
    pub fn close(code: Option<u16>, reason: &str) -> Self {
        let mut payload = Vec::new();
        if let Some(code) = code {
            payload.extend(code.to_be_bytes());
            payload.extend(reason.bytes());
        }
        Self::new(CLOSE, payload)
    }

    /// A text message in fragments of so many bytes.
    pub fn fragments(text: &str, size: usize) -> Vec<Self> {
        let pieces: Vec<_> = text.as_bytes().chunks(size.max(1)).collect();
        let last = pieces.len().saturating_sub(1);
        pieces
            .into_iter()
            .enumerate()
            .map(|(index, piece)| {
                let opcode = if index == 0 { TEXT } else { CONTINUATION };
                let mut frame = Self::new(opcode, piece);
                frame.more = index < last;
                frame
            })
            .collect()
    }

    pub fn masked(mut self, mask: [u8; 4]) -> Self {
        self.mask = Some(mask);
        self
    }

    /// The code of a close frame, if it has one.
    pub fn code(&self) -> Option<u16> {
        match self.payload.as_slice() {
            [high, low, ..] if self.opcode == CLOSE => Some(u16::from_be_bytes([*high, *low])),
            _ => None,
        }
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.payload.len() + 14);
        let end = if self.more { 0 } else { 0x80 };
        bytes.push(end | (self.reserved & 7) << 4 | self.opcode & 15);
        let masked = if self.mask.is_some() { 0x80 } else { 0 };
        let length = self.length.unwrap_or(self.payload.len() as u64);
        match (u8::try_from(length), u16::try_from(length)) {
            (Ok(length @ 0..=125), _) => bytes.push(masked | length),
            (_, Ok(length)) => {
                bytes.push(masked | 126);
                bytes.extend(length.to_be_bytes());
            }
            _ => {
                bytes.push(masked | 127);
                bytes.extend(length.to_be_bytes());
            }
        }
        let start = bytes.len() + self.mask.map_or(0, |mask| mask.len());
        bytes.extend(self.mask.iter().flatten());
        bytes.extend_from_slice(&self.payload);
        if let Some(mask) = self.mask {
            unmask(bytes.get_mut(start..).unwrap_or_default(), mask);
        }
        bytes
    }

    /// Takes the first frame out of the bytes; `None` when it is not whole yet.
    pub fn take(bytes: &mut Vec<u8>) -> Result<Option<Self>, String> {
        let [first, second, rest @ ..] = bytes.as_slice() else {
            return Ok(None);
        };
        let (length, rest) = match second & 0x7f {
            126 => match rest.split_first_chunk() {
                Some((length, rest)) => (u64::from(u16::from_be_bytes(*length)), rest),
                None => return Ok(None),
            },
            127 => match rest.split_first_chunk() {
                Some((length, rest)) => (u64::from_be_bytes(*length), rest),
                None => return Ok(None),
            },
            length => (u64::from(length), rest),
        };
        if length > MAXIMUM_FRAME {
            return Err(format!("a frame of {length} bytes"));
        }
        let (mask, rest) = match second & 0x80 {
            0 => (None, rest),
            _ => match rest.split_first_chunk::<4>() {
                Some((mask, rest)) => (Some(*mask), rest),
                None => return Ok(None),
            },
        };
        let Some(payload) = rest.get(..length as usize) else {
            return Ok(None);
        };
        let mut payload = payload.to_vec();
        if let Some(mask) = mask {
            unmask(&mut payload, mask);
        }
        let frame = Self {
            more: first & 0x80 == 0,
            reserved: first >> 4 & 7,
            opcode: first & 15,
            mask,
            length: None,
            payload,
        };
        let taken = bytes.len() - rest.len() + length as usize;
        bytes.drain(..taken);
        Ok(Some(frame))
    }

    /// What a client's frame must not be.
    pub fn objection(&self) -> Option<String> {
        if self.mask.is_none() {
            return Some("a frame that is not masked".into());
        }
        if self.reserved != 0 {
            return Some(format!("a frame with the reserved bits {}", self.reserved));
        }
        match self.opcode {
            TEXT if self.more => Some("a message in fragments".into()),
            TEXT => match serde_json::from_slice(&self.payload) {
                Ok(serde_json::Value::Array(messages)) if messages.is_empty() => {
                    Some("an empty array".into())
                }
                Ok(serde_json::Value::Array(_)) => None,
                Ok(other) => Some(format!("no array: {other}")),
                Err(error) => Some(format!("no JSON: {error}")),
            },
            CLOSE | PING | PONG if self.more => Some("a control frame in fragments".into()),
            CLOSE | PING | PONG if self.payload.len() > 125 => {
                Some("a control frame of more than 125 bytes".into())
            }
            CLOSE if self.payload.len() == 1 => Some("a close frame with half a code".into()),
            CLOSE | PING | PONG => None,
            opcode => Some(format!("a frame with the opcode {opcode}")),
        }
    }
}

fn unmask(bytes: &mut [u8], mask: [u8; 4]) {
    for (byte, mask) in bytes.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_and_its_answer() {
        // RFC 6455, 1.3
        assert_eq!(
            accept("dGhlIHNhbXBsZSBub25jZQ=="),
            "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        );
        assert!(is_key("dGhlIHNhbXBsZSBub25jZQ=="));
        assert!(!is_key("dGhlIHNhbXBsZQ=="));
        assert!(!is_key("?"));
    }

    #[test]
    fn frames_are_written_as_the_rfc_shows_them() {
        assert_eq!(Frame::text("Hello").to_bytes(), b"\x81\x05Hello");
        assert_eq!(
            Frame::text("Hello")
                .masked([0x37, 0xfa, 0x21, 0x3d])
                .to_bytes(),
            b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"
        );
        let fragments: Vec<_> = Frame::fragments("Hello", 3)
            .iter()
            .flat_map(Frame::to_bytes)
            .collect();
        assert_eq!(fragments, b"\x01\x03Hel\x80\x02lo");
        assert_eq!(
            Frame::binary([7; 256]).to_bytes()[..4],
            *b"\x82\x7e\x01\x00"
        );
        assert_eq!(
            Frame::binary([7; 65_536]).to_bytes()[..10],
            *b"\x82\x7f\0\0\0\0\0\x01\0\0"
        );
        assert_eq!(
            Frame::close(Some(1000), "x").to_bytes(),
            b"\x88\x03\x03\xe8x"
        );
        assert_eq!(Frame::close(None, "").to_bytes(), b"\x88\0");
    }

    #[test]
    fn also_what_no_library_writes() {
        let mut frame = Frame::new(11, "x");
        frame.reserved = 5;
        frame.length = Some(1 << 62);
        assert_eq!(frame.to_bytes(), b"\xdb\x7f\x40\0\0\0\0\0\0\0x");
    }

    #[test]
    fn frames_are_taken_one_by_one_however_they_come() {
        for size in [0, 1, 125, 126, 65_535, 65_536] {
            let frame = Frame::binary(vec![b'a'; size]).masked([1, 2, 3, 4]);
            let whole = frame.to_bytes();
            let mut bytes = Vec::new();
            for byte in whole.iter().take(whole.len() - 1) {
                bytes.push(*byte);
                if bytes.len() < 20 || bytes.len() + 20 > whole.len() {
                    assert_eq!(Frame::take(&mut bytes), Ok(None));
                }
            }
            bytes.push(whole[whole.len() - 1]);
            bytes.extend(b"next");
            assert_eq!(Frame::take(&mut bytes), Ok(Some(frame)));
            assert_eq!(bytes, b"next");
        }
        let mut endless = b"\x81\xff\x40\0\0\0\0\0\0\0".to_vec();
        assert!(Frame::take(&mut endless).is_err());
    }

    #[test]
    fn what_a_client_must_not_send_is_told() {
        let masked = |frame: Frame| frame.masked([9; 4]);
        assert_eq!(masked(Frame::text("[{}]")).objection(), None);
        assert_eq!(masked(Frame::ping("x")).objection(), None);
        assert_eq!(masked(Frame::close(None, "")).objection(), None);
        for (frame, why) in [
            (Frame::text("[{}]"), "not masked"),
            (masked(Frame::text("[]")), "empty"),
            (masked(Frame::text("{}")), "no array"),
            (masked(Frame::text("[")), "no JSON"),
            (masked(Frame::binary("[{}]")), "opcode 2"),
            (masked(Frame::fragments("[{}]", 1).remove(0)), "fragments"),
            (masked(Frame::ping([0; 126])), "125"),
            (masked(Frame::new(CLOSE, "x")), "half"),
        ] {
            let told = frame.objection().unwrap_or_default();
            assert!(told.contains(why), "{frame:?}: {told}");
        }
    }
}
