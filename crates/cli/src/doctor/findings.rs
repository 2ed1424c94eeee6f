//! What was found, in words and as JSON, and what follows from it.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use serde_json::{Value, json};

use crate::terminal::{indented, json_line, tame_line};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    Ok,
    Note,
    Warn,
    Fail,
}

impl Mark {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

/// What a host is asked for. Findings say which of these they break.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Good {
    Tasks,
    JailUser,
    JailStrict,
    Limits,
    Cluster,
    Secrets,
    Closed,
    Moves,
}

impl Good {
    const ALL: [Self; 8] = [
        Self::Tasks,
        Self::JailUser,
        Self::JailStrict,
        Self::Limits,
        Self::Cluster,
        Self::Secrets,
        Self::Closed,
        Self::Moves,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Tasks => "tasks",
            Self::JailUser => "jail user",
            Self::JailStrict => "jail strict",
            Self::Limits => "limits by the kernel",
            Self::Cluster => "other hosts",
            Self::Secrets => "keys kept secret",
            Self::Closed => "closed to strangers",
            Self::Moves => "processes that move",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) mark: Mark,
    pub(super) what: String,
    /// What it takes away, if anything.
    pub(super) breaks: Option<Good>,
    /// A command, to be pasted into a shell: what it names is [`quoted`].
    pub(super) remedy: Option<String>,
}

pub(super) fn found(mark: Mark, what: impl Into<String>) -> Finding {
    Finding { mark, what: tame_line(&what.into()), breaks: None, remedy: None }
}

/// A word of a shell's command, whatever is in it: as it is, or between quotes. What cannot be shown
/// is spelled out (`$'…'`), so that the command is about this file and no other.
pub(super) fn quoted(word: impl AsRef<OsStr>) -> String {
    let bytes = word.as_ref().as_bytes();
    // What begins with a dash would be an option; only a path can get here.
    let dash = if bytes.first() == Some(&b'-') { "./" } else { "" };
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._-+:@%,=".contains(byte);
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.is_empty() && bytes.iter().all(is_plain) => format!("{dash}{text}"),
        Ok(text) if tame_line(text) == text => {
            format!("'{dash}{}'", text.replace('\'', "'\\''"))
        }
        _ => {
            let spell = |byte: &u8| match byte {
                byte if is_plain(byte) || *byte == b' ' => char::from(*byte).to_string(),
                byte => format!("\\{byte:03o}"),
            };
            format!("$'{dash}{}'", bytes.iter().map(spell).collect::<String>())
        }
    }
}

impl Finding {
    pub(super) fn breaks(mut self, good: Good) -> Self {
        self.breaks = Some(good);
        self
    }

    pub(super) fn remedy(mut self, command: impl Into<String>) -> Self {
        self.remedy = Some(tame_line(&command.into()));
        self
    }

    fn in_words(&self) -> String {
        let text = indented(&self.what, 8);
        let text = text.strip_prefix("        ").unwrap_or(&text);
        let mut words = format!("  {:<6}{text}", self.mark.name());
        if let Some(command) = &self.remedy {
            words += &format!("          {command}\n");
        }
        words
    }

    fn in_json(&self) -> Value {
        json!({ "mark": self.mark.name(), "what": self.what, "remedy": self.remedy,
            "breaks": self.breaks.map(Good::name) })
    }
}

#[derive(Debug)]
pub(super) struct Section {
    title: &'static str,
    pub(super) findings: Vec<Finding>,
    /// What this section can tell of: the others' state is not known without it.
    covers: &'static [Good],
}

impl Section {
    pub(super) fn new(title: &'static str, covers: &'static [Good]) -> Self {
        Self { title, findings: Vec::new(), covers }
    }

    pub(super) fn add(&mut self, finding: Finding) {
        self.findings.push(finding);
    }

    pub(super) fn failures(mut self) -> Self {
        self.findings.retain(|finding| finding.mark == Mark::Fail);
        self
    }
}

#[derive(Debug, Default)]
pub(super) struct Findings {
    sections: Vec<Section>,
}

impl Findings {
    pub(super) fn add(&mut self, section: Section) {
        self.sections.push(section);
    }

    fn all(&self) -> impl Iterator<Item = &Finding> {
        self.sections.iter().flat_map(|section| &section.findings)
    }

    pub(super) fn has_failures(&self) -> bool {
        self.all().any(|finding| finding.mark == Mark::Fail)
    }

    /// What works; else the first reason why it does not.
    fn goods(&self) -> Vec<(Good, Option<&Finding>)> {
        let covered = |good: &Good| self.sections.iter().any(|s| s.covers.contains(good));
        let broken = |good: Good| self.all().find(|finding| finding.breaks == Some(good));
        Good::ALL.into_iter().filter(covered).map(|good| (good, broken(good))).collect()
    }

    pub(super) fn in_words(&self) -> String {
        let mut text = String::new();
        for section in self.sections.iter().filter(|section| !section.findings.is_empty()) {
            text += &format!("{}\n", section.title);
            section.findings.iter().for_each(|finding| text += &finding.in_words());
            text += "\n";
        }
        text += "What works\n";
        for (good, broken) in self.goods() {
            let line = match broken {
                None => format!("{}: yes", good.name()),
                // What stands behind a semicolon says what to do; it was said above.
                Some(finding) => {
                    let why = finding.what.split("; ").next().unwrap_or_default();
                    format!("{}: no, because {why}", good.name())
                }
            };
            let line = indented(&line, 4);
            text += &format!("  {}", line.strip_prefix("    ").unwrap_or(&line));
        }
        text
    }

    pub(super) fn in_json(&self) -> String {
        let sections: Vec<Value> = self
            .sections
            .iter()
            .map(|section| {
                let findings: Vec<Value> = section.findings.iter().map(Finding::in_json).collect();
                json!({ "title": section.title, "findings": findings })
            })
            .collect();
        let works: serde_json::Map<String, Value> = self
            .goods()
            .into_iter()
            .map(|(good, broken)| (good.name().to_owned(), broken.is_none().into()))
            .collect();
        json_line(&json!({ "sections": sections, "works": works }))
    }
}
