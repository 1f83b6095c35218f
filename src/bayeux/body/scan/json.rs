//! Where a JSON value ends (RFC 8259), if it is one. A number may be of any
//! size, and an escape may be half a surrogate pair: that is JSON, and nothing
//! here needs to know what it means.

/// UTF-8 text that may be JSON. Each method is asked about what begins at `at`
/// and answers where it ends; `None` when it is not there.
#[derive(Clone, Copy)]
pub(super) struct Json<'t>(pub &'t [u8]);

/// So many bytes of a string are looked at one by one, before more at once.
const SHORT: usize = 8;

/// The arrays and objects around a value, the innermost in the lowest bit and 1
/// for an object; above the outermost a 1.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Nesting(u64);

impl Nesting {
    const NONE: Self = Self(1);

    /// `None` when it is too deep for its bits.
    fn within(self, object: bool) -> Option<Self> {
        let has_room = self.0 >> (u64::BITS - 1) == 0;
        has_room.then_some(Self(self.0 << 1 | u64::from(object)))
    }

    fn is_object(self) -> bool {
        self.0 & 1 == 1
    }

    /// The byte that ends the innermost.
    fn end(self) -> u8 {
        match self.is_object() {
            true => b'}',
            false => b']',
        }
    }

    fn outer(self) -> Self {
        Self(self.0 >> 1)
    }
}

impl<'t> Json<'t> {
    #[inline(always)]
    pub fn byte(self, at: usize) -> Option<u8> {
        self.0.get(at).copied()
    }

    /// White space, if there is any.
    #[inline(always)]
    pub fn blank(self, at: usize) -> usize {
        match self.byte(at) {
            Some(byte) if byte > b' ' => at,
            _ => self.some_blank(at),
        }
    }

    #[cold]
    fn some_blank(self, mut at: usize) -> usize {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.byte(at) {
            at += 1;
        }
        at
    }

    /// The byte that is due, behind any white space; where it stands.
    #[inline(always)]
    fn due(self, at: usize, byte: u8) -> Option<usize> {
        if self.byte(at)? == byte {
            return Some(at);
        }
        let at = self.some_blank(at);
        (self.byte(at)? == byte).then_some(at)
    }

    pub fn value(self, mut at: usize) -> Option<usize> {
        let mut nesting = Nesting::NONE;
        'value: loop {
            match self.byte(at)? {
                b'"' => at = self.string(at)?,
                b'-' | b'0'..=b'9' => at = self.number(at)?,
                b'{' => {
                    at = self.blank(at + 1);
                    if self.byte(at)? != b'}' {
                        nesting = nesting.within(true)?;
                        at = self.key(at)?;
                        continue;
                    }
                    at += 1;
                }
                b'[' => {
                    at = self.blank(at + 1);
                    if self.byte(at)? != b']' {
                        nesting = nesting.within(false)?;
                        continue;
                    }
                    at += 1;
                }
                b't' => at = self.literal(at, b"true")?,
                b'f' => at = self.literal(at, b"false")?,
                b'n' => at = self.literal(at, b"null")?,
                _ => return None,
            }
            // What the value stands in goes on, or ends.
            while nesting != Nesting::NONE {
                match self.byte(at)? {
                    b',' if nesting.is_object() => {
                        at = self.key(at + 1)?;
                        continue 'value;
                    }
                    b',' => {
                        at = self.blank(at + 1);
                        continue 'value;
                    }
                    b' ' | b'\n' | b'\r' | b'\t' => at += 1,
                    end if end == nesting.end() => {
                        nesting = nesting.outer();
                        at += 1;
                    }
                    _ => return None,
                }
            }
            return Some(at);
        }
    }

    /// A key without escapes, its colon, and where the value begins.
    #[inline(always)]
    pub fn plain_key(self, at: usize) -> Option<(&'t [u8], usize)> {
        let start = self.due(at, b'"')? + 1;
        let end = self.plain(start);
        let name = self.0.get(start..end)?;
        (self.byte(end)? == b'"').then_some((name, self.colon(end + 1)?))
    }

    /// A key, its colon, and where the value begins.
    #[inline(always)]
    fn key(self, at: usize) -> Option<usize> {
        let at = self.due(at, b'"')?;
        self.colon(self.string(at)?)
    }

    #[inline(always)]
    fn colon(self, at: usize) -> Option<usize> {
        Some(self.blank(self.due(at, b':')? + 1))
    }

    fn literal(self, at: usize, word: &[u8]) -> Option<usize> {
        let is_there = self.0.get(at..)?.starts_with(word);
        is_there.then_some(at + word.len())
    }

    #[inline(always)]
    fn number(self, mut at: usize) -> Option<usize> {
        if self.byte(at)? == b'-' {
            at += 1;
        }
        at = match self.byte(at)? {
            b'0' => at + 1,
            _ => self.digits(at)?,
        };
        if self.byte(at) == Some(b'.') {
            at = self.digits(at + 1)?;
        }
        if let Some(b'e' | b'E') = self.byte(at) {
            at += 1;
            if let Some(b'+' | b'-') = self.byte(at) {
                at += 1;
            }
            at = self.digits(at)?;
        }
        // What follows a number is no part of one: of 01 the 1 is refused by
        // whoever wants a comma there.
        Some(at)
    }

    /// At least one digit.
    #[inline(always)]
    fn digits(self, mut at: usize) -> Option<usize> {
        if !self.byte(at)?.is_ascii_digit() {
            return None;
        }
        while let Some(b'0'..=b'9') = self.byte(at) {
            at += 1;
        }
        Some(at)
    }

    /// The string whose opening quote is there.
    #[inline(always)]
    fn string(self, at: usize) -> Option<usize> {
        let mut at = at + 1;
        loop {
            at = self.plain(at);
            match self.byte(at)? {
                b'"' => return Some(at + 1),
                b'\\' => at = self.escape(at)?,
                _ => return None,
            }
        }
    }

    fn escape(self, at: usize) -> Option<usize> {
        match self.byte(at + 1)? {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(at + 2),
            b'u' => {
                let digits = self.0.get(at + 2..at + 6)?;
                digits.iter().all(u8::is_ascii_hexdigit).then_some(at + 6)
            }
            _ => None,
        }
    }

    /// The part of a string that stands for itself. Most are short, and looked
    /// at byte by byte: where one ends is then a branch, behind which the
    /// processor goes on at once, and no number that has to be there first.
    #[inline(always)]
    fn plain(self, mut at: usize) -> usize {
        for _ in 0..SHORT {
            match self.byte(at) {
                Some(byte) if is_plain(byte) => at += 1,
                _ => return at,
            }
        }
        self.long_plain(at)
    }

    #[inline(never)]
    fn long_plain(self, at: usize) -> usize {
        let mut rest = self.0.get(at..).unwrap_or_default();
        while let Some((chunk, after)) = rest.split_first_chunk() {
            let plain = plain_of(chunk);
            if plain < chunk.len() {
                return self.0.len() - rest.len() + plain;
            }
            rest = after;
        }
        self.last_plain(self.0.len() - rest.len())
    }

    /// The same in the last bytes of a body.
    #[cold]
    fn last_plain(self, mut at: usize) -> usize {
        while self.byte(at).is_some_and(is_plain) {
            at += 1;
        }
        at
    }
}

/// Which bytes stand for themselves in a string.
static PLAIN: [bool; 256] = {
    let mut plain = [true; 256];
    let (controls, _) = plain.split_at_mut(0x20);
    controls.copy_from_slice(&[false; 0x20]);
    plain[b'"' as usize] = false;
    plain[b'\\' as usize] = false;
    plain
};

#[inline(always)]
fn is_plain(byte: u8) -> bool {
    PLAIN[usize::from(byte)]
}

/// How many bytes stand for themselves, from the first on.
#[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
#[inline(always)]
fn plain_of(chunk: &[u8; 16]) -> usize {
    // SAFETY: all that it asks for is a processor with SSE2, which is what this
    // is compiled for. Strings of 10 KB take twice as long by words.
    unsafe { plain_of_sse2(chunk) }
}

#[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
#[inline]
#[target_feature(enable = "sse2")]
fn plain_of_sse2(chunk: &[u8; 16]) -> usize {
    use std::arch::x86_64::{
        _mm_cmpeq_epi8, _mm_min_epu8, _mm_movemask_epi8, _mm_or_si128, _mm_set1_epi8,
        _mm_set_epi64x,
    };
    let all = u128::from_le_bytes(*chunk);
    let bytes = _mm_set_epi64x((all >> 64) as i64, all as i64);
    let quotes = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(b'"' as i8));
    let escapes = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(b'\\' as i8));
    let controls = _mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(0x1f)), bytes);
    let odd = _mm_or_si128(_mm_or_si128(quotes, escapes), controls);
    // A bit for each byte.
    match _mm_movemask_epi8(odd) {
        0 => chunk.len(),
        odd => odd.trailing_zeros() as usize,
    }
}

/// The same for all processors, a word at a time.
#[cfg(any(test, not(all(target_arch = "x86_64", target_feature = "sse2"))))]
#[inline(always)]
fn plain_of_words(chunk: &[u8; 16]) -> usize {
    const fn each(byte: u8) -> u64 {
        u64::from_ne_bytes([byte; 8])
    }
    // The highest bit of each byte that is below `limit`, and of some behind it.
    let below = |word: u64, limit: u8| word.wrapping_sub(each(limit)) & !word & each(0x80);
    let odd =
        |word: u64| below(word, 0x20) | below(word ^ each(b'"'), 1) | below(word ^ each(b'\\'), 1);
    let all = u128::from_le_bytes(*chunk);
    let odd = [odd(all as u64), odd((all >> 64) as u64)];
    let plain = odd.map(|it| (it.trailing_zeros() / 8) as usize);
    match plain {
        [8, second] => 8 + second,
        [first, _] => first,
    }
}

#[cfg(not(all(target_arch = "x86_64", target_feature = "sse2")))]
use plain_of_words as plain_of;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plain_bytes_of_a_string_are_counted_up_to_the_first_that_is_not() {
        for byte in (0..=u8::MAX).step_by(if cfg!(miri) { 30 } else { 1 }) {
            for around in [b'a', 0x20, 0x7f, 0x80, 0xff] {
                for at in 0..16 {
                    for behind in [around, 0x00, b'"'] {
                        let mut chunk = [around; 16];
                        chunk[at] = byte;
                        chunk[(at + 1).min(15)..].fill(behind);
                        let is_odd = |it: &u8| *it < 0x20 || matches!(it, b'"' | b'\\');
                        let plain = chunk.iter().position(is_odd).unwrap_or(16);
                        let bytes = chunk.iter().take_while(|it| is_plain(**it));
                        assert_eq!(bytes.count(), plain, "{chunk:?}");
                        assert_eq!(plain_of(&chunk), plain, "{chunk:?}");
                        assert_eq!(plain_of_words(&chunk), plain, "{chunk:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_value_ends_where_it_does_for_serde_json() {
        for json in [
            "0",
            "-0",
            "01",
            "-",
            "1.",
            ".5",
            "1.5",
            "1e",
            "1e400",
            "1E+5",
            "1e-05",
            "+1",
            "--1",
            "true",
            "tru",
            "truex",
            "nul",
            "False",
            "\"\"",
            "\"",
            "\"a",
            "\"\\\"",
            "\"\\u12g4\"",
            "\"\\ud800\"",
            "\"\\uD83d\\uDE00\"",
            "\"\\x\"",
            "\"\\u123",
            "\"\t\"",
            "\"\u{7f}é\"",
            "[]",
            "[ ]",
            "[1,]",
            "[,1]",
            "[1 2]",
            "[1}",
            "{]",
            "{}",
            "{ }",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{\"a\" : 1 , \"b\":[{}]}",
            "{a:1}",
            "{1:1}",
            "{\"\\ud800\":1}",
            "",
            " ",
            "[\u{a0}1]",
            "[\u{c}1]",
            "[1]]",
            "[[1]",
            "[\"a\" \"b\"]",
            "[1\r\n,\t2 ]",
        ] {
            ends_as_for_serde_json(json);
        }
    }

    #[test]
    fn a_string_of_any_length_ends_where_it_does_for_serde_json() {
        for length in (0..80).step_by(if cfg!(miri) { 15 } else { 1 }) {
            for end in ["\"", "\\n\"", "\\\"\"", "\\", "\u{1f}\"", "é\u{7f}\"", ""] {
                let plain = "x".repeat(length);
                for behind in [0, 1, 40] {
                    let behind = "y".repeat(behind);
                    ends_as_for_serde_json(&format!("\"{plain}{end}{behind}\""));
                    ends_as_for_serde_json(&format!("\"{plain}{end}{behind}"));
                }
            }
        }
    }

    /// Where all of a text is one value, that is, and only there.
    fn ends_as_for_serde_json(json: &str) {
        let theirs = serde_json::from_str::<&serde_json::value::RawValue>(json);
        let is_whole = theirs.is_ok_and(|it| it.get() == json);
        let end = Json(json.as_bytes()).value(0);
        assert_eq!(end == Some(json.len()), is_whole, "{json:?}");
    }

    #[test]
    #[cfg_attr(miri, ignore = "so many bytes take too long")]
    fn what_is_nested_too_deeply_is_left_to_the_other_door() {
        let nested = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
        for (depth, is_taken) in [(1, true), (63, true), (64, false), (100_000, false)] {
            let json = nested(depth);
            assert_eq!(
                Json(json.as_bytes()).value(0).is_some(),
                is_taken,
                "{depth}"
            );
        }
    }
}
