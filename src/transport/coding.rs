//! Undoes content codings. What is known is undone, the rest is taken as it is,
//! and JSON decides.
//!
//! Here stand the bounds of a gzip: what comes out is at most as large as a
//! response may be, what goes in may bring next to nothing for [`OVERHEAD`]
//! bytes only, and after [`TURN`] other clients have theirs.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use flate2::write::GzDecoder;
use hyper::header::{HeaderMap, CONTENT_ENCODING};

use crate::bayeux::error_text::one_line;
use crate::error::{ErrorKind, Failure};
use crate::transport::leniencies::{Leniencies, Leniency};

/// Each is undone in turn, and each may be large.
const MAXIMUM_CODINGS: usize = 5;
/// What is given to the decoder at a time: at most 4 MiB come of it.
const PIECE: usize = 4 * 1024;
/// How long one client's decoder works before it is another's turn.
const TURN: Duration = Duration::from_millis(2);
/// Empty members and blocks bring nothing and cost much. Beyond so many bytes
/// each two bytes have to bring at least one, which every compressor's do.
const OVERHEAD: u64 = 64 * 1024;

const MAGIC: &[u8] = &[0x1f, 0x8b];

/// What to make of a body that cannot be decoded to its end.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    Whole,
    /// It only explains something.
    Beginning,
}

/// Whether a body has codings.
pub fn is_coded(headers: &HeaderMap) -> bool {
    headers.contains_key(CONTENT_ENCODING)
}

/// The body without its codings, which is at most so large.
pub async fn decode(
    headers: &HeaderMap,
    mut body: Vec<u8>,
    maximum: usize,
    wanted: Wanted,
    leniencies: &Leniencies,
) -> Result<Vec<u8>, Failure> {
    if !is_coded(headers) {
        return Ok(body);
    }
    let values = headers.get_all(CONTENT_ENCODING);
    let text: Vec<_> = values
        .iter()
        .map(|it| String::from_utf8_lossy(it.as_bytes()))
        .collect();
    let codings = text.iter().flat_map(|it| it.split(',')).map(str::trim);
    let codings: Vec<_> = codings
        .filter(|it| !it.is_empty() && !it.eq_ignore_ascii_case("identity"))
        .collect();
    if codings.len() > MAXIMUM_CODINGS {
        return Err(Failure::new(
            ErrorKind::Protocol,
            format!("the response has {} content codings", codings.len()),
        ));
    }
    // The last one was applied last.
    for coding in codings.into_iter().rev() {
        let is_gzip = ["gzip", "x-gzip"]
            .iter()
            .any(|it| coding.eq_ignore_ascii_case(it));
        if is_gzip && body.starts_with(MAGIC) {
            body = gunzip(&body, maximum, wanted, leniencies).await?;
        } else if !body.is_empty() {
            let what = if is_gzip { "is none" } else { "is not known" };
            let coding = one_line(coding, 40);
            leniencies.took(
                Leniency::ContentEncoding,
                format!(
                    "a response has the content coding \"{coding}\", which {what}; it was taken \
                     as it is"
                ),
            );
        }
    }
    Ok(body)
}

/// What comes out of a gzip, and why no more could.
struct Output {
    bytes: Vec<u8>,
    maximum: usize,
    failure: Option<Failure>,
}

impl Write for Output {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let room = self.maximum - self.bytes.len().min(self.maximum);
        let part = data.get(..room).unwrap_or(data);
        if let Err(failure) = reserve(&mut self.bytes, part.len(), self.maximum) {
            self.failure = Some(failure);
        } else {
            self.bytes.extend_from_slice(part);
            if part.len() < data.len() {
                self.failure = Some(too_large(self.maximum));
            }
        }
        match self.failure {
            None => Ok(data.len()),
            Some(_) => Err(io::Error::other("no more is taken")),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Makes room for so many more bytes: at least, and at most for as many again as
/// there are, but for no more than `expected` if that is enough. What a server
/// sends must not end the process for want of memory.
pub fn reserve(bytes: &mut Vec<u8>, additional: usize, expected: usize) -> Result<(), Failure> {
    if bytes.capacity() - bytes.len() >= additional {
        return Ok(());
    }
    let more = bytes.len().min(expected.saturating_sub(bytes.len()));
    let more = more.max(additional);
    bytes.try_reserve_exact(more).map_err(|_| {
        Failure::new(
            ErrorKind::System,
            format!(
                "there is no memory for the response: {more} bytes more than the {} that it has",
                bytes.len()
            ),
        )
    })
}

pub fn too_large(maximum: usize) -> Failure {
    Failure::new(
        ErrorKind::TooLarge,
        format!("the response is too large: more than {maximum} bytes"),
    )
}

async fn gunzip(
    input: &[u8],
    maximum: usize,
    wanted: Wanted,
    leniencies: &Leniencies,
) -> Result<Vec<u8>, Failure> {
    let corrupt = |why: &dyn std::fmt::Display| {
        let text = format!("the response's gzip is corrupt: {why}");
        Failure::new(ErrorKind::Protocol, text)
    };
    let mut output = Output {
        bytes: Vec::new(),
        maximum,
        failure: None,
    };
    let mut rest = input;
    let mut since = Instant::now();
    loop {
        let mut member = GzDecoder::new(output);
        let mut result = Ok(());
        while !rest.is_empty() {
            let piece = rest.get(..PIECE).unwrap_or(rest);
            match member.write(piece) {
                // Behind its end.
                Ok(0) => break,
                Ok(taken) => rest = rest.get(taken..).unwrap_or_default(),
                Err(error) => {
                    result = Err(error);
                    break;
                }
            }
            let read = (input.len() - rest.len()) as u64;
            let brought = member.get_ref().bytes.len() as u64;
            if read > OVERHEAD.saturating_add(brought.saturating_mul(2)) {
                result = Err(io::Error::other("it is long and holds next to nothing"));
                break;
            }
            if since.elapsed() >= TURN {
                tokio::task::yield_now().await;
                since = Instant::now();
            }
        }
        let result = result.and_then(|()| member.try_finish());
        // What is not yet whole stands in the decoder.
        let _ = member.flush();
        let taken = member.get_mut();
        output = Output {
            bytes: std::mem::take(&mut taken.bytes),
            maximum,
            failure: taken.failure.take(),
        };
        // It is dropped here, and must not write any more.
        member.get_mut().maximum = 0;
        drop(member);
        if let Err(error) = result {
            if wanted == Wanted::Beginning {
                return Ok(output.bytes);
            }
            return Err(output.failure.take().unwrap_or_else(|| corrupt(&error)));
        }
        if rest.is_empty() {
            return Ok(output.bytes);
        }
        if !rest.starts_with(MAGIC) {
            let text = format!(
                "{} bytes behind the end of a response's gzip were passed over",
                rest.len()
            );
            leniencies.took(Leniency::GzipTail, text);
            return Ok(output.bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::write::GzEncoder;
    use flate2::Compression;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn decoded(
        codings: &[&str],
        body: Vec<u8>,
        maximum: usize,
        wanted: Wanted,
    ) -> (Result<Vec<u8>, Failure>, Vec<&'static str>) {
        let mut all = HeaderMap::new();
        for coding in codings {
            all.append(CONTENT_ENCODING, coding.parse().unwrap());
        }
        let leniencies = Leniencies::default();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let result = runtime.block_on(decode(&all, body, maximum, wanted, &leniencies));
        (result, leniencies.counts().into_keys().collect())
    }

    fn whole(coding: &str, body: Vec<u8>, maximum: usize) -> Result<Vec<u8>, Failure> {
        decoded(&[coding], body, maximum, Wanted::Whole).0
    }

    #[test]
    fn gzip_is_decoded_within_the_limit_148() {
        assert_eq!(whole("gzip", gzip(b"[]"), 10).unwrap(), b"[]");
        assert_eq!(whole("gzip", gzip(b"[]"), 2).unwrap(), b"[]");
        assert_eq!(
            whole("gzip", gzip(b"[]"), 1).unwrap_err().kind,
            ErrorKind::TooLarge
        );
        let bomb = gzip(&vec![b' '; 1 << 20]);
        assert!(bomb.len() < 2_000);
        let error = whole("gzip", bomb, 1 << 16).unwrap_err();
        assert_eq!(error.kind, ErrorKind::TooLarge);
        let mut corrupt = gzip(b"[some messages]");
        corrupt.truncate(corrupt.len() - 9);
        let error = whole("gzip", corrupt, 100).unwrap_err();
        assert!(error.text.contains("gzip is corrupt"), "{}", error.text);
        let mut corrupt = gzip(b"[some messages]");
        let last = corrupt.len() - 6;
        corrupt[last] ^= 1;
        let error = whole("gzip", corrupt, 100).unwrap_err();
        assert!(error.text.contains("gzip is corrupt"), "{}", error.text);
    }

    #[test]
    fn large_texts_and_many_members_are_decoded() {
        let text: Vec<u8> = (0..300_000_u32)
            .map(|it| (it.wrapping_mul(it) >> 7) as u8)
            .collect();
        let members: Vec<u8> = text.chunks(10_000).flat_map(gzip).collect();
        assert_eq!(whole("gzip", members, 300_000).unwrap(), text);
        assert_eq!(whole("x-gzip", gzip(&text), 300_000).unwrap(), text);
    }

    #[test]
    fn case_gzip_tail_codings_are_undone_as_far_as_they_are_known() {
        let json = || b"[]".to_vec();
        let odd = ["content_encoding"];
        for (codings, body, counted) in [
            (&["identity"][..], json(), &[][..]),
            (&[""], json(), &[]),
            (&["GZip"], gzip(b"[]"), &[]),
            (&["gzip, identity"], gzip(b"[]"), &[]),
            (&["identity, gzip"], gzip(b"[]"), &[]),
            (&["gzip, gzip"], gzip(&gzip(b"[]")), &[]),
            (&["gzip", "gzip"], gzip(&gzip(b"[]")), &[]),
            (&["gzip, gzip"], gzip(b"[]"), &odd),
            (&["gzip"], json(), &odd),
            (&["utf-8"], json(), &odd),
            (&["gzip, utf-8"], gzip(b"[]"), &odd),
            (&["utf-8,gzip"], gzip(b"[]"), &odd),
            (&["br"], json(), &odd),
        ] {
            let (result, taken) = decoded(codings, body, 100, Wanted::Whole);
            assert_eq!(result.unwrap(), b"[]", "{codings:?}");
            assert_eq!(taken, counted, "{codings:?}");
        }
        assert!(whole("gzip,gzip,gzip,gzip,gzip,gzip", json(), 100).is_err());
    }

    #[test]
    fn case_gzip_tail_bytes_behind_it_are_passed_over() {
        for tail in [&b"\0"[..], &[0; 10_000], b"\r\n", b"garbage", &[0x1f]] {
            let body = [gzip(b"[1,"), gzip(b"2]"), tail.to_vec()].concat();
            let (result, taken) = decoded(&["gzip"], body, 100, Wanted::Whole);
            assert_eq!(result.unwrap(), b"[1,2]", "{tail:?}");
            assert_eq!(taken, ["gzip_tail"], "{tail:?}");
        }
    }

    #[test]
    fn of_an_explanation_the_beginning_is_enough() {
        let page = "words ".repeat(10_000).into_bytes();
        let begins = |body, maximum| {
            decoded(&["gzip"], body, maximum, Wanted::Beginning)
                .0
                .unwrap()
        };
        assert_eq!(begins(gzip(&page), 100), page[..100]);
        let mut cut = gzip(&page);
        cut.truncate(cut.len() / 2);
        assert!(begins(cut, 100_000).starts_with(b"words words"));
    }

    #[test]
    fn limit_gzip_members_and_blocks_that_bring_nothing_are_given_up() {
        let members = gzip(b"").repeat(10_000);
        let error = whole("gzip", members, 16 << 20).unwrap_err();
        assert!(error.text.contains("next to nothing"), "{}", error.text);
        // Blocks of one member, stored and with the fixed codes.
        let header = &gzip(b"")[..10];
        for block in [&[0, 0, 0, 0xff, 0xff][..], &[0x02, 0x08, 0x20, 0x80, 0x00]] {
            let body = [header, &block.repeat(100_000)].concat();
            let error = whole("gzip", body, 16 << 20).unwrap_err();
            assert!(error.text.contains("next to nothing"), "{}", error.text);
        }
        // A few are taken.
        let some = [gzip(b"").repeat(1_000), gzip(b"[]")].concat();
        assert_eq!(whole("gzip", some, 100).unwrap(), b"[]");
    }
}
