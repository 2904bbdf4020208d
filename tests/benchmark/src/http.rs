//! As much of HTTP/1.1 as a server of ours needs: requests one after the other on a connection that stays, with a length or in
//! chunks, as a function streams its answer.
//! It blocks, because waking an async runtime would cost more than what is measured.

use std::io::{self, ErrorKind, Read};

/// What is taken, head and body: above anything that Lambda takes.
const MOST: usize = 16 * 1024 * 1024;
const HEADERS: usize = 64;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    pub method: String,
    pub path: String,
    /// The header `x-amz-target`, by which AWS's services are told what to do.
    pub target: String,
    pub body: Vec<u8>,
}

/// What a connection has brought so far.
#[derive(Debug, Default)]
pub struct Reader {
    buffer: Vec<u8>,
}

impl Reader {
    /// Waits for a whole request. `None` when the connection ends before the next one begins.
    ///
    /// # Errors
    /// When the connection breaks, or brings what is no request.
    pub fn read(&mut self, stream: &mut impl Read) -> io::Result<Option<Request>> {
        let mut chunk = [0; 16 * 1024];
        loop {
            if let Some(request) = self.take()? {
                return Ok(Some(request));
            }
            match stream.read(&mut chunk) {
                Ok(0) if self.buffer.is_empty() => return Ok(None),
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(count) => self.buffer.extend_from_slice(&chunk[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
            if self.buffer.len() > MOST {
                return Err(unreadable("a request is too large"));
            }
        }
    }

    /// The first request of what is there, if it is whole.
    fn take(&mut self) -> io::Result<Option<Request>> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS];
        let mut head = httparse::Request::new(&mut headers);
        let parsed = head.parse(&self.buffer).map_err(|error| unreadable(&error.to_string()))?;
        let httparse::Status::Complete(begin) = parsed else { return Ok(None) };
        let header = |name: &str| {
            let found = head.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
            found.and_then(|header| std::str::from_utf8(header.value).ok())
        };
        let whole = match (header("transfer-encoding"), header("content-length")) {
            (Some("chunked"), None) => chunks(&self.buffer, begin)?,
            (Some(_), _) => return Err(unreadable("a body of unknown length")),
            (None, text) => {
                let length = text.map_or(Ok(0), |text| text.trim().parse::<usize>());
                let end = begin.saturating_add(length.map_err(|_| unreadable("a length that is no number"))?);
                self.buffer.get(begin..end).map(|body| (body.to_vec(), end))
            }
        };
        let Some((body, end)) = whole else { return Ok(None) };
        let request = Request {
            method: head.method.unwrap_or_default().to_owned(),
            path: head.path.unwrap_or_default().to_owned(),
            target: header("x-amz-target").unwrap_or_default().to_owned(),
            body,
        };
        self.buffer.drain(..end);
        Ok(Some(request))
    }
}

/// A body in chunks, which begins there, and where it ends; `None` when it is not whole. What is said after the last chunk is
/// left out.
fn chunks(buffer: &[u8], begin: usize) -> io::Result<Option<(Vec<u8>, usize)>> {
    let (mut body, mut at) = (Vec::new(), begin);
    loop {
        let size = httparse::parse_chunk_size(&buffer[at..]).map_err(|_| unreadable("a chunk of no size"))?;
        let httparse::Status::Complete((head, size)) = size else { return Ok(None) };
        at += head;
        if size == 0 {
            // Lines, and an empty one.
            while let Some(line) = buffer[at..].windows(2).position(|pair| pair == b"\r\n") {
                at += line + 2;
                if line == 0 {
                    return Ok(Some((body, at)));
                }
            }
            return Ok(None);
        }
        let size = usize::try_from(size).map_err(|_| unreadable("a chunk is too large"))?;
        let Some(chunk) = at.checked_add(size).and_then(|end| buffer.get(at..end)) else { return Ok(None) };
        body.extend_from_slice(chunk);
        at += size;
        match buffer.get(at..at + 2) {
            Some(b"\r\n") => at += 2,
            Some(_) => return Err(unreadable("a chunk that does not end where it said")),
            None => return Ok(None),
        }
    }
}

fn unreadable(what: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, what.to_owned())
}

/// A whole response in one piece, so that it is written at once.
pub fn response(status: u16, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut whole = head(status, headers, ("content-length", &body.len().to_string()));
    whole.extend_from_slice(body);
    whole
}

/// The head of a response whose body comes in chunks.
pub fn streamed(status: u16, headers: &[(&str, &str)]) -> Vec<u8> {
    head(status, headers, ("transfer-encoding", "chunked"))
}

/// A part of such a body; the empty one is its end.
pub fn chunk(part: &[u8]) -> Vec<u8> {
    [format!("{:x}\r\n", part.len()).as_bytes(), part, b"\r\n"].concat()
}

fn head(status: u16, headers: &[(&str, &str)], last: (&str, &str)) -> Vec<u8> {
    let reason = if status < 400 { "OK" } else { "Bad Request" };
    let mut head = format!("HTTP/1.1 {status} {reason}\r\n");
    for (name, value) in headers.iter().copied().chain([last]) {
        for part in [name, ": ", value, "\r\n"] {
            head.push_str(part);
        }
    }
    head.push_str("\r\n");
    head.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Brings its pieces one at a time, as a network may.
    struct Pieces(Vec<Vec<u8>>);

    impl Read for Pieces {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            if self.0.is_empty() {
                return Ok(0);
            }
            let piece = self.0.remove(0);
            into[..piece.len()].copy_from_slice(&piece);
            Ok(piece.len())
        }
    }

    const TWO: &str = "POST / HTTP/1.1\r\nX-Amz-Target: DynamoDB_20120810.GetItem\r\nContent-Length: 5\r\n\r\nhello\
                       GET /next HTTP/1.1\r\nhost: here\r\n\r\n";

    #[test]
    fn requests_are_read_however_they_are_cut() {
        for at in 1..TWO.len() {
            let (left, right) = TWO.as_bytes().split_at(at);
            let mut pieces = Pieces(vec![left.to_vec(), right.to_vec()]);
            let mut reader = Reader::default();
            let first = reader.read(&mut pieces).expect("read").expect("a request");
            assert_eq!((first.target.as_str(), first.body.as_slice()), ("DynamoDB_20120810.GetItem", &b"hello"[..]));
            let second = reader.read(&mut pieces).expect("read").expect("a request");
            assert_eq!((second.method.as_str(), second.path.as_str()), ("GET", "/next"));
            assert_eq!(reader.read(&mut pieces).expect("the end"), None);
        }
    }

    #[test]
    fn a_body_in_chunks_is_read_however_it_is_cut() {
        let chunked = "POST /answer HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nB;x=y\r\n, you there\r\n0\r\n\
                       Lambda-Runtime-Function-Error-Type: none\r\n\r\n";
        let both = [chunked, TWO].concat();
        for at in 1..both.len() {
            let (left, right) = both.as_bytes().split_at(at);
            let mut pieces = Pieces(vec![left.to_vec(), right.to_vec()]);
            let mut reader = Reader::default();
            for expected in ["hello, you there", "hello", ""] {
                let found = reader.read(&mut pieces).expect("read").expect("a request");
                assert_eq!(String::from_utf8_lossy(&found.body), expected, "cut at {at}");
            }
        }
    }

    #[test]
    fn what_is_no_request_is_an_error() {
        let head = "POST / HTTP/1.1\r\ntransfer-encoding:";
        let [zipped, sizeless, longer] = [" gzip\r\n\r\n", " chunked\r\n\r\nmany\r\n", " chunked\r\n\r\n1\r\nab\r\n"]
            .map(|rest| format!("{head}{rest}"));
        let odd = "POST / HTTP/1.1\r\ncontent-length: many\r\n\r\n";
        let half = "POST / HTTP/1.1\r\ncontent-length: 9\r\n\r\nhalf";
        for text in [&zipped, &sizeless, &longer, odd, half, "\u{1}\u{2}\r\n\r\n"] {
            let mut pieces = Pieces(vec![text.as_bytes().to_vec()]);
            assert!(Reader::default().read(&mut pieces).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_stream_is_read_as_it_is_written() {
        let parts: Vec<u8> = [&b"hello"[..], b", you", b""].into_iter().flat_map(chunk).collect();
        let head = b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n";
        let mut pieces = Pieces(vec![[&head[..], &parts].concat()]);
        let read = Reader::default().read(&mut pieces).expect("read").expect("a request");
        assert_eq!(read.body, b"hello, you");
        let head = String::from_utf8_lossy(&streamed(200, &[("a", "b")])).into_owned();
        assert_eq!(head, "HTTP/1.1 200 OK\r\na: b\r\ntransfer-encoding: chunked\r\n\r\n");
    }

    #[test]
    fn a_response_says_how_long_it_is() {
        let whole = response(200, &[("a", "b")], b"xyz");
        assert_eq!(String::from_utf8_lossy(&whole), "HTTP/1.1 200 OK\r\na: b\r\ncontent-length: 3\r\n\r\nxyz");
    }
}
