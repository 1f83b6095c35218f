//! Where frames and messages begin and end in what a server sends (RFC 6455,
//! section 5.2).

/// A message of more frames has to bring at least a byte with each of them.
const MAXIMUM_FRAGMENTS: u64 = 100_000;

/// A larger message leaves a buffer behind that is not kept.
const LARGE: u64 = 64 * 1024;

/// The longest header, with the longest length and a mask.
const MAXIMUM_HEADER: usize = 14;

/// Follows the frames as their bytes come. Whether they are right is looked at by
/// who reads them.
#[derive(Default)]
pub struct Frames {
    header: [u8; MAXIMUM_HEADER],
    /// So much of a header has come.
    begun: usize,
    /// So much of the frame's payload has not.
    left: u64,
    /// A message's last frame has not begun.
    in_message: bool,
    fragments: u64,
    /// Of the message, as far as its frames have begun.
    length: u64,
    /// One has been large since this was last asked.
    large: bool,
    in_close: bool,
    close: Option<Vec<u8>>,
}

impl Frames {
    pub fn follow(&mut self, mut bytes: &[u8]) {
        while let Some((first, rest)) = bytes.split_first() {
            if self.left > 0 {
                let here = usize::try_from(self.left).map_or(bytes.len(), |it| it.min(bytes.len()));
                let (payload, behind) = bytes.split_at(here);
                if let Some(close) = self.close.as_mut().filter(|_| self.in_close) {
                    close.extend_from_slice(payload);
                }
                self.left = self.left.saturating_sub(here as u64);
                bytes = behind;
                continue;
            }
            if let Some(place) = self.header.get_mut(self.begun) {
                *place = *first;
            }
            self.begun += 1;
            bytes = rest;
            if let Some(length) = self.length_of_payload() {
                self.begun = 0;
                self.begin(length);
            }
        }
    }

    /// When the whole of a header is there.
    fn length_of_payload(&self) -> Option<u64> {
        let header = self.header.get(..self.begun)?;
        let second = *header.get(1)?;
        let mask = if second & 0x80 == 0 { 0 } else { 4 };
        let (length, end) = match second & 0x7f {
            126 => {
                let long = header.get(2..4)?.try_into().ok()?;
                (u16::from_be_bytes(long).into(), 4)
            }
            127 => {
                let long = header.get(2..10)?.try_into().ok()?;
                (u64::from_be_bytes(long), 10)
            }
            short => (short.into(), 2),
        };
        (header.len() >= end + mask).then_some(length)
    }

    fn begin(&mut self, length: u64) {
        let [first, ..] = self.header;
        let is_last = first & 0x80 != 0;
        let opcode = first & 0x0f;
        self.left = length;
        self.in_close = false;
        match opcode {
            0x8 if self.close.is_none() => {
                self.in_close = true;
                // No control frame is longer.
                self.close = (length <= 125).then(Vec::new);
            }
            0x8.. => {}
            0 => {
                self.fragments = self.fragments.saturating_add(1);
                self.length = self.length.saturating_add(length);
                self.in_message = !is_last;
            }
            _ => {
                self.fragments = 1;
                self.length = length;
                self.in_message = !is_last;
            }
        }
        self.large |= self.length > LARGE;
    }

    /// Whether all that has come are whole messages.
    pub fn is_between_messages(&self) -> bool {
        self.begun == 0 && self.left == 0 && !self.in_message
    }

    /// Whether a message goes on and on without bringing anything.
    pub fn is_endless(&self) -> bool {
        self.fragments > MAXIMUM_FRAGMENTS && self.length < self.fragments
    }

    pub fn has_been_large(&self) -> bool {
        self.large
    }

    pub fn forget_large(&mut self) {
        self.large = false;
        self.length = 0;
    }

    /// What the server's close frame holds.
    pub fn close(&self) -> Option<&[u8]> {
        self.close.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_followed_wherever_their_bytes_are_cut() {
        // Each with whether a message has ended with it.
        let frames: [(&[u8], usize, bool); 9] = [
            (&[0x81, 0], 0, true),
            (&[0x01, 3], 3, false),
            (&[0x89, 125], 125, false),
            (&[0x00, 126, 0, 200], 200, false),
            (&[0x80, 0x81, 1, 2, 3, 4], 1, true),
            (&[0x82, 126, 0xff, 0xff], 65_535, true),
            (&[0x8a, 0], 0, true),
            (&[0x81, 127, 0, 0, 0, 0, 0, 1, 0, 1], 65_537, true),
            (&[0x88, 0x82, 1, 2, 3, 4], 2, true),
        ];
        for step in [1, 2, 3, 5, 1_000_000] {
            let mut followed = Frames::default();
            for (index, (header, payload, is_end)) in frames.into_iter().enumerate() {
                assert_eq!(followed.has_been_large(), index > 7);
                let bytes = [header, &vec![b'x'; payload]].concat();
                let (last, before) = bytes.split_last().unwrap();
                for piece in before.chunks(step) {
                    followed.follow(piece);
                }
                assert!(!followed.is_between_messages());
                followed.follow(&[*last]);
                assert_eq!(followed.is_between_messages(), is_end, "{header:?}");
            }
            assert_eq!(followed.close(), Some(&b"xx"[..]));
            followed.forget_large();
            assert!(!followed.has_been_large());
        }
    }

    #[test]
    fn the_longest_length_is_only_followed() {
        let mut followed = Frames::default();
        followed.follow(&[
            0x88, 0xff, 255, 255, 255, 255, 255, 255, 255, 255, 1, 2, 3, 4,
        ]);
        followed.follow(&[0; 1_000]);
        assert!(!followed.is_between_messages());
        assert_eq!(followed.close(), None);
    }
}
