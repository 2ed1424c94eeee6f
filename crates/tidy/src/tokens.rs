//! Splits Rust text in code and comments, and code in tokens.
//!
//! Strings and character literals belong to neither: what they say is data. Both halves keep
//! every line break, so a line number in one is a line number in the file.
//! Elsewhere: what the tokens mean (`outline`).

/// One identifier, number or piece of punctuation. `::` is one token, a lifetime is one too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) text: String,
    pub(crate) line: usize,
}

/// The text with everything but code blanked, and with everything but comments blanked.
pub(crate) fn split(text: &str) -> (String, String) {
    let chars: Vec<char> = text.chars().collect();
    let mut code = String::with_capacity(text.len());
    let mut comments = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let (end, kind) = piece(&chars, at);
        for &c in &chars[at..end] {
            let blank = if c == '\n' { '\n' } else { ' ' };
            code.push(if kind == Kind::Code { c } else { blank });
            comments.push(if kind == Kind::Comment { c } else { blank });
        }
        at = end;
    }
    (code, comments)
}

/// The tokens of code whose strings and comments are blanked.
pub(crate) fn tokens(code: &str) -> Vec<Token> {
    let mut found = Vec::new();
    for (number, line) in code.lines().enumerate() {
        let chars: Vec<char> = line.chars().collect();
        let mut at = 0;
        while at < chars.len() {
            let start = at;
            at += 1;
            if chars[start].is_whitespace() {
                continue;
            }
            if is_word(chars[start]) || chars[start] == '\'' {
                while at < chars.len() && is_word(chars[at]) {
                    at += 1;
                }
            } else if chars[start] == ':' && chars.get(at) == Some(&':') {
                at += 1;
            }
            found.push(Token { text: chars[start..at].iter().collect(), line: number + 1 });
        }
    }
    found
}

#[derive(PartialEq, Eq)]
enum Kind {
    Code,
    Comment,
    Literal,
}

/// Where the piece that starts at `at` ends, and what it is.
fn piece(chars: &[char], at: usize) -> (usize, Kind) {
    let rest = &chars[at..];
    match rest {
        ['/', '/', ..] => {
            (at + rest.iter().position(|&c| c == '\n').unwrap_or(rest.len()), Kind::Comment)
        }
        ['/', '*', ..] => (at + block_comment(rest), Kind::Comment),
        ['"', ..] => (at + string(rest), Kind::Literal),
        ['\'', ..] => match character(rest) {
            Some(length) => (at + length, Kind::Literal),
            None => (at + 1, Kind::Code),
        },
        [c, ..] if is_word(*c) => {
            let word = rest.iter().position(|&c| !is_word(c)).unwrap_or(rest.len());
            let prefix: String = rest[..word].iter().collect();
            let raw = matches!(prefix.as_str(), "r" | "br" | "cr");
            match (raw, &rest[word..]) {
                (true, after @ ['"' | '#', ..]) => match raw_string(after) {
                    Some(length) => (at + word + length, Kind::Literal),
                    None => (at + word, Kind::Code),
                },
                _ => (at + word, Kind::Code),
            }
        }
        _ => (at + 1, Kind::Code),
    }
}

fn block_comment(rest: &[char]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        match &rest[at..] {
            ['/', '*', ..] => (depth, at) = (depth + 1, at + 2),
            ['*', '/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

fn string(rest: &[char]) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            '\\' => at += 2,
            '"' => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// The length of `#"…"#`, or nothing when this is a raw identifier (`r#type`).
fn raw_string(rest: &[char]) -> Option<usize> {
    let hashes = rest.iter().take_while(|&&c| c == '#').count();
    if rest.get(hashes) != Some(&'"') {
        return None;
    }
    let closed = (hashes + 1..rest.len()).find(|&at| {
        rest[at] == '"' && rest[at + 1..].iter().take_while(|&&c| c == '#').count() >= hashes
    });
    Some(closed.map_or(rest.len(), |at| at + 1 + hashes))
}

/// The length of a character literal, or nothing when the quote opens a lifetime.
fn character(rest: &[char]) -> Option<usize> {
    match rest {
        ['\'', '\\', _, tail @ ..] => Some(3 + tail.iter().position(|&c| c == '\'')? + 1),
        ['\'', _, '\'', ..] => Some(3),
        _ => None,
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

#[cfg(test)]
mod tests;
