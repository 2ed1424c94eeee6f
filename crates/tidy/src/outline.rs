//! What a Rust file declares and names: its modules, the paths it uses, its functions.
//!
//! Read from tokens, not parsed. `use` trees are expanded to one path per leaf, so that
//! `use std::{fs, net::TcpStream}` names `std::fs` and `std::net::TcpStream`.
//! Elsewhere: which of this is allowed (`rules`).

use crate::tokens::Token;

/// What one file declares and names.
#[derive(Debug, Default)]
pub(crate) struct Outline {
    pub(crate) mods: Vec<Mod>,
    pub(crate) paths: Vec<Path>,
    pub(crate) functions: Vec<Function>,
}

/// A `mod` line or block.
#[derive(Debug)]
pub(crate) struct Mod {
    pub(crate) name: String,
    pub(crate) inside: Vec<String>,
    pub(crate) test: bool,
    pub(crate) inline: bool,
}

/// One name with its `::`, outside or inside a `use`. A single word without `::` is one too.
#[derive(Debug)]
pub(crate) struct Path {
    pub(crate) segments: Vec<String>,
    pub(crate) line: usize,
    /// The modules of this file that it stands in.
    pub(crate) inside: Vec<String>,
    pub(crate) test: bool,
    /// For a `pub use`: the name under which it is known from here on.
    pub(crate) published: Option<String>,
    /// A `!` follows: a macro is called.
    pub(crate) macro_call: bool,
    /// A `(` follows: a function is called.
    pub(crate) call: bool,
}

#[derive(Debug)]
pub(crate) struct Function {
    pub(crate) name: String,
    pub(crate) line: usize,
    pub(crate) lines: usize,
}

/// A module block that is still open: at which depth of braces it closes again.
struct Open {
    name: String,
    depth: usize,
    test: bool,
}

pub(crate) fn outline(tokens: &[Token]) -> Outline {
    let mut reader = Reader { tokens, ..Reader::default() };
    let mut at = 0;
    while at < tokens.len() {
        at = reader.step(at).max(at + 1);
    }
    reader.found
}

#[derive(Default)]
struct Reader<'a> {
    tokens: &'a [Token],
    found: Outline,
    open: Vec<Open>,
    depth: usize,
    /// An attribute `cfg(test)` waits for its item.
    test_ahead: bool,
    /// Inside `pub use …;`.
    publishing: bool,
}

impl Reader<'_> {
    /// Reads what starts at `at`; returns where the next thing starts.
    fn step(&mut self, at: usize) -> usize {
        let tokens = self.tokens;
        let next = text(tokens, at + 1);
        match text(tokens, at) {
            "#" => {
                let end = after_attribute(tokens, at);
                self.test_ahead |= is_cfg_test(&tokens[at..end]);
                end
            }
            "{" => {
                self.depth += 1;
                at + 1
            }
            "}" => {
                self.open.retain(|module| module.depth < self.depth);
                self.depth = self.depth.saturating_sub(1);
                at + 1
            }
            ";" => {
                self.publishing = false;
                at + 1
            }
            "pub" => {
                let item = if next == "(" { closing(tokens, at + 1) + 1 } else { at + 1 };
                self.publishing = text(tokens, item) == "use";
                item
            }
            "mod" if is_name(next) && matches!(text(tokens, at + 2), ";" | "{") => self.module(at),
            "fn" if is_name(next) => {
                self.found.functions.extend(function(tokens, at));
                self.test_ahead = false;
                at + 2
            }
            "use" | "struct" | "enum" | "impl" | "const" | "static" | "trait" => {
                self.test_ahead = false;
                at + 1
            }
            word if is_name(word) && !matches!(before(tokens, at), "$" | "::") => self.paths(at),
            _ => at + 1,
        }
    }

    fn module(&mut self, at: usize) -> usize {
        let name = text(self.tokens, at + 1).to_string();
        let inline = text(self.tokens, at + 2) == "{";
        let test = self.in_test() || self.test_ahead;
        self.found.mods.push(Mod { name: name.clone(), inside: self.inside(), test, inline });
        if inline {
            self.depth += 1;
            self.open.push(Open { name, depth: self.depth, test });
        }
        self.test_ahead = false;
        at + 3
    }

    fn paths(&mut self, at: usize) -> usize {
        let mut leaves = Vec::new();
        let end = use_tree(self.tokens, at, &[], &mut leaves);
        let after = text(self.tokens, end);
        for (segments, line, alias) in leaves {
            let known_as = alias.or_else(|| segments.last().cloned());
            self.found.paths.push(Path {
                segments,
                line,
                inside: self.inside(),
                test: self.in_test(),
                published: known_as.filter(|_| self.publishing),
                macro_call: after == "!",
                call: after == "(",
            });
        }
        end
    }

    fn inside(&self) -> Vec<String> {
        self.open.iter().map(|module| module.name.clone()).collect()
    }

    fn in_test(&self) -> bool {
        self.open.iter().any(|module| module.test)
    }
}

/// The text of a token; empty behind the end.
pub(crate) fn text(tokens: &[Token], at: usize) -> &str {
    tokens.get(at).map_or("", |t| &t.text)
}

/// Where the bracket that opens at `at` closes; the end when it never does.
pub(crate) fn closing(tokens: &[Token], at: usize) -> usize {
    let mut depth = 0;
    for (index, token) in tokens.iter().enumerate().skip(at) {
        match token.text.as_str() {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth -= 1,
            _ => (),
        }
        if depth == 0 {
            return index;
        }
    }
    tokens.len()
}

/// Behind the attribute whose `#` is at `at`.
pub(crate) fn after_attribute(tokens: &[Token], at: usize) -> usize {
    let bracket = if text(tokens, at + 1) == "!" { at + 2 } else { at + 1 };
    if text(tokens, bracket) == "[" { closing(tokens, bracket) + 1 } else { at + 1 }
}

pub(crate) fn is_name(word: &str) -> bool {
    word.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

fn before(tokens: &[Token], at: usize) -> &str {
    if at == 0 { "" } else { text(tokens, at - 1) }
}

fn is_cfg_test(attribute: &[Token]) -> bool {
    let has = |word: &str| attribute.iter().any(|t| t.text == word);
    has("cfg") && has("test") && !has("not")
}

/// Follows `a::b::{c, d as e, f::*}` from `at`: one leaf for each full path. Returns where it ends.
fn use_tree(
    tokens: &[Token],
    mut at: usize,
    prefix: &[String],
    leaves: &mut Vec<(Vec<String>, usize, Option<String>)>,
) -> usize {
    let mut segments = prefix.to_vec();
    let line = tokens[at].line;
    loop {
        match text(tokens, at) {
            "{" => {
                let end = closing(tokens, at);
                at += 1;
                while at < end {
                    at = match text(tokens, at) {
                        "," => at + 1,
                        _ => use_tree(tokens, at, &segments, leaves).max(at + 1),
                    };
                }
                return end + 1;
            }
            // `a::{self}` is `a`.
            "self" if !segments.is_empty() => at += 1,
            word if is_name(word) || word == "*" => {
                segments.push(word.to_string());
                at += 1;
            }
            _ => break,
        }
        let next = text(tokens, at + 1);
        if text(tokens, at) != "::" || !(is_name(next) || next == "*" || next == "{") {
            break;
        }
        at += 1;
    }
    let alias = (text(tokens, at) == "as").then(|| text(tokens, at + 1).to_string());
    let end = if alias.is_some() { at + 2 } else { at };
    leaves.push((segments, line, alias));
    end
}

/// The function whose `fn` is at `at`, if it has a body.
fn function(tokens: &[Token], at: usize) -> Option<Function> {
    let mut body = at;
    loop {
        match text(tokens, body) {
            "{" => break,
            "" | ";" => return None,
            "(" | "[" => body = closing(tokens, body) + 1,
            _ => body += 1,
        }
    }
    let end = closing(tokens, body).min(tokens.len() - 1);
    let (first, last) = (tokens[at].line, tokens[end].line);
    Some(Function { name: text(tokens, at + 1).to_string(), line: first, lines: last - first + 1 })
}

#[cfg(test)]
mod tests;
