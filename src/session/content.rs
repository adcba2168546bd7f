//! The body of an answer with its content codings undone (RFC 9110 section 8.4).
//!
//! It streams: what is decoded is as long as one asks for, whatever the answer unfolds to.

use std::io;
use std::pin::Pin;

use async_compression::tokio::bufread::{BrotliDecoder, DeflateDecoder, GzipDecoder, ZlibDecoder, ZstdDecoder};
use async_compression::zstd::DParameter;
use bytes::{Bytes, BytesMut};
use futures_util::stream;
use reqwest::Method;
use reqwest::header::{ACCEPT_ENCODING, CONTENT_ENCODING, HeaderMap, HeaderValue, RANGE};
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, BufReader};
use tokio_util::io::StreamReader;

use super::{Answer, SendError};

/// The codings that can be undone, as a request asks for them.
const CODINGS: HeaderValue = HeaderValue::from_static("gzip, deflate, br, zstd");
/// A zstd window may be 8 MiB (RFC 9659), so that an answer cannot ask for gigabytes.
const ZSTD_WINDOW_LOG: u32 = 23;
const DECODED_AT_ONCE: usize = 64 * 1024;

type Reader = Pin<Box<dyn AsyncBufRead + Send>>;

/// Asks for a coded answer, unless that is the caller's own affair: who names codings wants them as they come, a part of a
/// coded answer cannot be decoded, and the head alone is to tell of the answer as it is. Returns whether it asked, and so
/// whether the answer is to be decoded.
pub fn accept_codings(method: &Method, headers: &mut HeaderMap) -> bool {
    if method == Method::HEAD || headers.contains_key(ACCEPT_ENCODING) || headers.contains_key(RANGE) {
        return false;
    }
    headers.insert(ACCEPT_ENCODING, CODINGS);
    true
}

/// The body of an answer, to be read piece by piece.
pub struct Content {
    state: State,
    codings: Vec<Coding>,
    origin: String,
}

enum State {
    Plain(Answer),
    Coded(Answer),
    Decoding(Reader),
    Over,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coding {
    Gzip,
    Deflate,
    Brotli,
    Zstd,
}

impl Content {
    /// The body of `answer`, decoded if `decode` says so and its codings are known; else as it comes.
    pub fn of(answer: Answer, decode: bool) -> Self {
        let codings = if decode { codings(answer.response.headers()).unwrap_or_default() } else { Vec::new() };
        let origin = answer.response.url().origin().ascii_serialization();
        let state = if codings.is_empty() { State::Plain(answer) } else { State::Coded(answer) };
        Self { state, codings, origin }
    }

    /// Returns whether it is decoded: then the lengths that the head tells are of something else.
    pub fn is_decoded(&self) -> bool {
        !self.codings.is_empty()
    }

    /// Returns the next piece, or `None` at the end.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, SendError> {
        if let State::Plain(answer) = &mut self.state {
            return answer.chunk().await;
        }
        let mut reader = match std::mem::replace(&mut self.state, State::Over) {
            State::Coded(answer) => self.decoder(answer).await.map_err(|error| self.fault(error))?,
            State::Decoding(reader) => reader,
            State::Plain(_) | State::Over => return Ok(None),
        };
        let mut chunk = BytesMut::with_capacity(DECODED_AT_ONCE);
        if reader.read_buf(&mut chunk).await.map_err(|error| self.fault(error))? == 0 {
            return Ok(None);
        }
        self.state = State::Decoding(reader);
        Ok(Some(chunk.freeze()))
    }

    async fn decoder(&self, answer: Answer) -> io::Result<Reader> {
        let chunks = stream::try_unfold(answer, |mut answer| async {
            let chunk = answer.chunk().await.map_err(io::Error::other)?;
            io::Result::Ok(chunk.map(|chunk| (chunk, answer)))
        });
        let mut reader: Reader = Box::pin(StreamReader::new(Box::pin(chunks)));
        // The one applied last is told last.
        for coding in self.codings.iter().rev() {
            reader = undo(*coding, reader).await?;
        }
        Ok(reader)
    }

    fn fault(&self, error: io::Error) -> SendError {
        // The network's faults come through the decoder as they are.
        error.downcast().unwrap_or_else(|cause| SendError::Coding { origin: self.origin.clone(), cause })
    }
}

/// Returns the codings of an answer in the order in which they were applied, or `None` if one is unknown.
fn codings(headers: &HeaderMap) -> Option<Vec<Coding>> {
    let mut codings = Vec::new();
    for value in headers.get_all(CONTENT_ENCODING) {
        for name in value.to_str().ok()?.split(',') {
            codings.push(match name.trim().to_ascii_lowercase().as_str() {
                "gzip" | "x-gzip" => Coding::Gzip,
                "deflate" => Coding::Deflate,
                "br" => Coding::Brotli,
                "zstd" => Coding::Zstd,
                "identity" | "" => continue,
                _ => return None,
            });
        }
    }
    Some(codings)
}

/// Undoes one coding. Nothing at all is nothing decoded, also where the coding would have a head at least.
async fn undo(coding: Coding, mut reader: Reader) -> io::Result<Reader> {
    let begin = reader.fill_buf().await?;
    if begin.is_empty() {
        return Ok(reader);
    }
    // RFC 9110 section 8.4.1.2: "deflate" is the zlib format, but some servers send the bare one.
    let is_zlib =
        begin[0] & 0x0f == 8 && begin.get(1).is_none_or(|next| (u16::from(begin[0]) << 8 | u16::from(*next)) % 31 == 0);
    Ok(match coding {
        Coding::Gzip => {
            let mut decoder = GzipDecoder::new(reader);
            decoder.multiple_members(true);
            buffered(decoder)
        }
        Coding::Deflate if is_zlib => buffered(ZlibDecoder::new(reader)),
        Coding::Deflate => buffered(DeflateDecoder::new(reader)),
        Coding::Brotli => buffered(BrotliDecoder::new(reader)),
        Coding::Zstd => {
            let mut decoder = ZstdDecoder::with_params(reader, &[DParameter::window_log_max(ZSTD_WINDOW_LOG)]);
            decoder.multiple_members(true);
            buffered(decoder)
        }
    })
}

fn buffered(decoder: impl AsyncRead + Send + 'static) -> Reader {
    Box::pin(BufReader::with_capacity(DECODED_AT_ONCE, decoder))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codings_are_asked_for_unless_the_caller_has_reasons_of_his_own() {
        let mut headers = HeaderMap::new();
        assert!(accept_codings(&Method::GET, &mut headers));
        assert_eq!(headers[ACCEPT_ENCODING], "gzip, deflate, br, zstd");
        assert!(!accept_codings(&Method::HEAD, &mut HeaderMap::new()));
        for name in [RANGE, ACCEPT_ENCODING] {
            let mut headers = HeaderMap::from_iter([(name.clone(), HeaderValue::from_static("x"))]);
            assert!(!accept_codings(&Method::GET, &mut headers), "{name}");
            assert_eq!(headers.len(), 1);
        }
    }

    #[test]
    fn codings_are_undone_only_if_all_are_known() {
        for (told, expected) in [
            (vec![], Some(vec![])),
            (vec!["identity"], Some(vec![])),
            (vec!["GZIP"], Some(vec![Coding::Gzip])),
            (vec!["deflate, br", "zstd"], Some(vec![Coding::Deflate, Coding::Brotli, Coding::Zstd])),
            (vec!["gzip, compress"], None),
        ] {
            let mut headers = HeaderMap::new();
            for value in &told {
                headers.append(CONTENT_ENCODING, HeaderValue::from_static(value));
            }
            assert_eq!(codings(&headers), expected, "{told:?}");
        }
    }
}
