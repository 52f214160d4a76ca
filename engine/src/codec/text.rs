//! A walk over the text of a JSON document: which objects are marked, and which way leads to them.
//!
//! Nothing is made of what is passed: it is found where it stands, and everything between is copied as it is.

use std::ops::Range;

use super::CodecError;

/// How deep a document may be, as serde_json has it.
const DEPTH_MAX: usize = 128;

/// A marked object as it stands in the text.
pub(super) struct Marked<'t> {
    /// Its only key.
    pub mark: &'t str,
    /// What the key stands for.
    pub body: &'t str,
    /// Where the whole object stands.
    pub place: Range<usize>,
}

/// Calls back for each marked object, with the way from the document's root to it: `.` and a name for each field, `[` and an
/// index (eight bytes, big-endian) for each item. That is part of the storage format.
///
/// # Errors
/// What the callback says, or the text is no JSON.
pub(super) fn each_mark<'t>(
    text: &'t str,
    mut found: impl FnMut(Marked<'t>, &[u8]) -> Result<(), CodecError>,
) -> Result<(), CodecError> {
    let mut walk = Walk { text, at: 0, depth: 0, path: Vec::new(), found: &mut found };
    walk.value(true)?;
    walk.blank();
    if walk.at == text.len() { Ok(()) } else { Err(walk.broken()) }
}

/// What hears of a marked object and the way to it.
type Found<'t, 'f> = dyn FnMut(Marked<'t>, &[u8]) -> Result<(), CodecError> + 'f;

struct Walk<'t, 'f> {
    text: &'t str,
    at: usize,
    depth: usize,
    path: Vec<u8>,
    found: &'f mut Found<'t, 'f>,
}

impl<'t> Walk<'t, '_> {
    fn broken(&self) -> CodecError {
        CodecError(format!("byte {} is not as JSON has it", self.at))
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn blank(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
    }

    fn take(&mut self, wanted: u8) -> Result<(), CodecError> {
        self.blank();
        if self.peek() != Some(wanted) {
            return Err(self.broken());
        }
        self.at += 1;
        Ok(())
    }

    /// Whether another one follows, of a list that `end` ends.
    fn goes_on(&mut self, end: u8) -> Result<bool, CodecError> {
        self.blank();
        let goes_on = match self.peek() {
            Some(b',') => true,
            Some(byte) if byte == end => false,
            _ => return Err(self.broken()),
        };
        self.at += 1;
        Ok(goes_on)
    }

    /// Walks over a value; `inside`: also over what is in it, for marks.
    fn value(&mut self, inside: bool) -> Result<(), CodecError> {
        self.blank();
        match self.peek() {
            Some(b'{') => self.deeper(|walk| walk.object(inside)),
            Some(b'[') => self.deeper(|walk| walk.array(inside)),
            Some(b'"') => self.string().map(drop),
            _ => self.scalar(),
        }
    }

    fn deeper(&mut self, into: impl FnOnce(&mut Self) -> Result<(), CodecError>) -> Result<(), CodecError> {
        if self.depth == DEPTH_MAX {
            return Err(CodecError(format!("it is more than {DEPTH_MAX} deep")));
        }
        self.depth += 1;
        into(self)?;
        self.depth -= 1;
        Ok(())
    }

    fn object(&mut self, inside: bool) -> Result<(), CodecError> {
        let begin = self.at;
        self.take(b'{')?;
        self.blank();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(());
        }
        let mut is_first = true;
        loop {
            let name = self.string()?;
            self.take(b':')?;
            let is_mark = is_first && (name == kernel::PERSONAL_MARK || name == kernel::CONFIDENTIAL_MARK);
            is_first = false;
            if inside && is_mark {
                self.blank();
                let body = self.at;
                self.value(false)?;
                let body_end = self.at;
                if !self.goes_on(b'}')? {
                    let marked =
                        Marked { mark: name, body: &self.text[body..body_end], place: begin..self.at };
                    return (self.found)(marked, &self.path);
                }
                // With a second key it is a field like others.
                self.at = body;
            }
            self.member(name, inside)?;
            if !self.goes_on(b'}')? {
                return Ok(());
            }
        }
    }

    fn member(&mut self, name: &str, inside: bool) -> Result<(), CodecError> {
        if !inside {
            return self.value(false);
        }
        let way = self.path.len();
        self.path.push(b'.');
        if name.contains('\\') {
            let name = serde_json::from_str::<String>(&format!("\"{name}\"")).map_err(|_| self.broken())?;
            self.path.extend_from_slice(name.as_bytes());
        } else {
            self.path.extend_from_slice(name.as_bytes());
        }
        self.value(true)?;
        self.path.truncate(way);
        Ok(())
    }

    fn array(&mut self, inside: bool) -> Result<(), CodecError> {
        self.take(b'[')?;
        self.blank();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(());
        }
        let way = self.path.len();
        for index in 0_u64.. {
            if inside {
                self.path.truncate(way);
                self.path.push(b'[');
                self.path.extend_from_slice(&index.to_be_bytes());
            }
            self.value(inside)?;
            if !self.goes_on(b']')? {
                break;
            }
        }
        self.path.truncate(way);
        Ok(())
    }

    /// What stands between the quotes, as it is written.
    fn string(&mut self) -> Result<&'t str, CodecError> {
        self.take(b'"')?;
        let (begin, bytes) = (self.at, self.text.as_bytes());
        loop {
            match bytes.get(self.at) {
                Some(b'"') => break,
                Some(b'\\') => self.at += 2,
                Some(_) => self.at += 1,
                None => return Err(self.broken()),
            }
        }
        let written = self.text.get(begin..self.at).ok_or_else(|| self.broken())?;
        self.at += 1;
        Ok(written)
    }

    /// A number, or a word.
    fn scalar(&mut self) -> Result<(), CodecError> {
        let rest = &self.text.as_bytes()[self.at..];
        let ends = |byte: &u8| matches!(byte, b',' | b']' | b'}' | b' ' | b'\n' | b'\r' | b'\t');
        let length = rest.iter().position(ends).unwrap_or(rest.len());
        if length == 0 {
            return Err(self.broken());
        }
        self.at += length;
        Ok(())
    }
}
