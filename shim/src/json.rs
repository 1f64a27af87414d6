//! JSON (RFC 8259), as much of it as the plugin needs: a checked document, and where in its text
//! each member stands, so that it can be passed on unchanged.

/// Nested deeper than this, a document is refused: the parser calls itself for each level.
const DEEPEST: usize = 200;

pub enum Value {
    Null,
    Text(Text),
    List(Vec<Value>),
    Object(Vec<Member>),
    /// A boolean or a number: nothing here asks for their values, except `Whole`.
    Other,
    /// A number without fraction and exponent that fits.
    Whole(i64),
}

pub struct Member {
    pub name: String,
    pub value: Value,
    /// The value's place in the text, in bytes.
    pub span: std::ops::Range<usize>,
}

pub struct Text {
    pub value: String,
    /// False for text with half of a surrogate pair, which no UTF-8 text can hold.
    pub valid: bool,
}

impl Value {
    /// The last member of that name: a later one replaces an earlier one, as in Python and Go.
    pub fn member(&self, name: &str) -> Option<&Member> {
        match self {
            Value::Object(members) => members.iter().rev().find(|m| m.name == name),
            _ => None,
        }
    }

    /// The value of that member; None also for null.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.member(name).map(|m| &m.value).filter(|v| !matches!(v, Value::Null))
    }
}

/// The document, or what is wrong with it and where.
pub fn parse(text: &str) -> Result<Value, String> {
    let mut parser = Parser { text: text.as_bytes(), at: 0 };
    parser.blanks();
    let value = parser.value(0)?;
    parser.blanks();
    if parser.at < parser.text.len() {
        return Err(parser.fault("more text after the document"));
    }
    Ok(value)
}

/// A JSON text of this string, in ASCII.
pub fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for unit in text.encode_utf16() {
        match unit {
            0x22 => out.push_str("\\\""),
            0x5c => out.push_str("\\\\"),
            0x20..=0x7e => out.push(unit as u8 as char),
            _ => out.push_str(&format!("\\u{:04x}", unit)),
        }
    }
    out.push('"');
    out
}

struct Parser<'a> {
    text: &'a [u8],
    at: usize,
}

impl Parser<'_> {
    fn value(&mut self, depth: usize) -> Result<Value, String> {
        if depth > DEEPEST {
            return Err(self.fault("nested too deeply"));
        }
        match self.peek() {
            Some(b'{') => self.object(depth),
            Some(b'[') => self.list(depth),
            Some(b'"') => self.string().map(Value::Text),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b'n') => self.word("null").map(|_| Value::Null),
            Some(b't') => self.word("true").map(|_| Value::Other),
            Some(b'f') => self.word("false").map(|_| Value::Other),
            _ => Err(self.fault("a value is missing")),
        }
    }

    fn object(&mut self, depth: usize) -> Result<Value, String> {
        let mut members = Vec::new();
        self.at += 1;
        self.blanks();
        if self.take(b'}') {
            return Ok(Value::Object(members));
        }
        loop {
            self.blanks();
            if self.peek() != Some(b'"') {
                return Err(self.fault("a name in quotes is missing"));
            }
            let name = self.string()?.value;
            self.blanks();
            if !self.take(b':') {
                return Err(self.fault("':' is missing"));
            }
            self.blanks();
            let start = self.at;
            let value = self.value(depth + 1)?;
            members.push(Member { name, value, span: start..self.at });
            self.blanks();
            if self.take(b'}') {
                return Ok(Value::Object(members));
            }
            if !self.take(b',') {
                return Err(self.fault("',' or '}' is missing"));
            }
        }
    }

    fn list(&mut self, depth: usize) -> Result<Value, String> {
        let mut values = Vec::new();
        self.at += 1;
        self.blanks();
        if self.take(b']') {
            return Ok(Value::List(values));
        }
        loop {
            self.blanks();
            values.push(self.value(depth + 1)?);
            self.blanks();
            if self.take(b']') {
                return Ok(Value::List(values));
            }
            if !self.take(b',') {
                return Err(self.fault("',' or ']' is missing"));
            }
        }
    }

    fn string(&mut self) -> Result<Text, String> {
        self.at += 1;
        let mut units: Vec<u16> = Vec::new();
        loop {
            match self.peek() {
                None => return Err(self.fault("a text does not end")),
                Some(b'"') => break,
                Some(b'\\') => units.push(self.escape()?),
                Some(0..=0x1f) => return Err(self.fault("a control character in a text")),
                Some(_) => self.plain(&mut units),
            }
        }
        self.at += 1;
        let valid = String::from_utf16(&units);
        let whole = valid.is_ok();
        Ok(Text { value: valid.unwrap_or_else(|_| String::from_utf16_lossy(&units)), valid: whole })
    }

    /// Takes all characters up to the next quote, backslash or control character.
    fn plain(&mut self, units: &mut Vec<u16>) {
        let start = self.at;
        while !matches!(self.peek(), None | Some(b'"' | b'\\' | 0..=0x1f)) {
            self.at += 1;
        }
        // The whole text is UTF-8, and a part between ASCII characters is as well.
        let part = std::str::from_utf8(&self.text[start..self.at]).unwrap_or_default();
        units.extend(part.encode_utf16());
    }

    fn escape(&mut self) -> Result<u16, String> {
        self.at += 1;
        let kind = self.peek();
        self.at += 1;
        Ok(match kind {
            Some(b'"') => 0x22,
            Some(b'\\') => 0x5c,
            Some(b'/') => 0x2f,
            Some(b'b') => 0x08,
            Some(b'f') => 0x0c,
            Some(b'n') => 0x0a,
            Some(b'r') => 0x0d,
            Some(b't') => 0x09,
            Some(b'u') => {
                let mut unit: u16 = 0;
                for _ in 0..4 {
                    let digit = self.peek().and_then(|c| (c as char).to_digit(16));
                    let digit = digit.ok_or_else(|| self.fault("four hex digits are missing"))?;
                    unit = unit * 16 + digit as u16;
                    self.at += 1;
                }
                unit
            }
            _ => return Err(self.fault("an unknown escape")),
        })
    }

    fn number(&mut self) -> Result<Value, String> {
        let start = self.at;
        self.take(b'-');
        if !self.take(b'0') {
            self.digits()?;
        }
        let mut whole = true;
        if self.take(b'.') {
            whole = false;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            whole = false;
            self.at += 1;
            if !self.take(b'+') {
                self.take(b'-');
            }
            self.digits()?;
        }
        let text = std::str::from_utf8(&self.text[start..self.at]).unwrap_or_default();
        Ok(match text.parse() {
            Ok(number) if whole => Value::Whole(number),
            _ => Value::Other,
        })
    }

    fn digits(&mut self) -> Result<(), String> {
        if !matches!(self.peek(), Some(b'0'..=b'9')) {
            return Err(self.fault("a digit is missing"));
        }
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        Ok(())
    }

    fn word(&mut self, word: &str) -> Result<(), String> {
        if !self.text[self.at..].starts_with(word.as_bytes()) {
            return Err(self.fault("a value is missing"));
        }
        self.at += word.len();
        Ok(())
    }

    fn blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn take(&mut self, byte: u8) -> bool {
        let there = self.peek() == Some(byte);
        self.at += there as usize;
        there
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn fault(&self, what: &str) -> String {
        format!("{} at byte {}", what, self.at)
    }
}
