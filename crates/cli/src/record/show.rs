//! What tasks write to their standard error, shown as it comes: whole lines, each behind its task's
//! number.

use std::collections::HashMap;

use crate::terminal::tame;

/// Bytes of one line that are kept until it ends.
const LINE_MAX: usize = 64 * 1024;
/// Tasks in the middle of a line.
const BEGUN_MAX: usize = 1024;

pub(crate) struct Show {
    print: Box<dyn FnMut(&str) + Send>,
    /// By task: a line that has not ended.
    begun: HashMap<u64, Vec<u8>>,
}

impl Show {
    pub(crate) fn new(print: impl FnMut(&str) + Send + 'static) -> Self {
        Self { print: Box::new(print), begun: HashMap::new() }
    }

    pub(super) fn wrote(&mut self, task: u64, bytes: &[u8]) {
        // Whoever never ends a line shows it in pieces, and is not remembered for ever.
        if self.begun.len() >= BEGUN_MAX && !self.begun.contains_key(&task) {
            self.finish();
        }
        let line = self.begun.entry(task).or_default();
        line.extend_from_slice(bytes);
        let whole = match line.iter().rposition(|byte| *byte == b'\n') {
            Some(at) => line.drain(..=at).collect::<Vec<u8>>(),
            None if line.len() > LINE_MAX => std::mem::take(line),
            None => return,
        };
        if line.is_empty() {
            self.begun.remove(&task);
        }
        self.print(task, &whole);
    }

    /// An attempt at this task is over: what it wrote last counts as a line.
    pub(super) fn ended(&mut self, task: u64) {
        if let Some(line) = self.begun.remove(&task) {
            self.print(task, &line);
        }
    }

    /// So does whatever is left, at the end.
    pub(super) fn finish(&mut self) {
        let mut left: Vec<(u64, Vec<u8>)> = self.begun.drain().collect();
        left.sort_unstable_by_key(|(task, _)| *task);
        for (task, line) in left {
            self.print(task, &line);
        }
    }

    fn print(&mut self, task: u64, bytes: &[u8]) {
        let text = tame(&String::from_utf8_lossy(bytes));
        let text: String = text.lines().map(|line| format!("{task} | {line}\n")).collect();
        (self.print)(&text);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, channel};

    use super::*;

    fn show() -> (Show, Receiver<String>) {
        let (sender, printed) = channel();
        (Show::new(move |text: &str| sender.send(text.to_owned()).unwrap()), printed)
    }

    fn text(printed: &Receiver<String>) -> String {
        printed.try_iter().collect()
    }

    #[test]
    fn lines_are_shown_whole_and_a_last_one_without_an_end_when_its_task_has_ended() {
        let (mut show, printed) = show();
        show.wrote(1, b"a\nb");
        show.wrote(2, b"\x1b[2Jc");
        show.wrote(1, b"b\nd");
        assert_eq!(text(&printed), "1 | a\n1 | bb\n");
        show.ended(1);
        show.ended(1);
        assert_eq!(text(&printed), "1 | d\n");
        // What comes after the result, and is read before the end.
        show.wrote(1, b"e");
        show.finish();
        assert_eq!(text(&printed), "1 | e\n2 | ·[2Jc\n");
    }

    #[test]
    fn of_too_many_lines_that_do_not_end_none_is_lost() {
        let (mut show, printed) = show();
        let tasks = 0..2 * BEGUN_MAX as u64 + 7;
        for task in tasks.clone() {
            show.wrote(task, b"x");
            assert!(show.begun.len() <= BEGUN_MAX);
        }
        show.finish();
        let all: String = tasks.map(|task| format!("{task} | x\n")).collect();
        assert_eq!(text(&printed), all);
        show.wrote(1, &vec![b'y'; LINE_MAX + 1]);
        assert_eq!(text(&printed).len(), LINE_MAX + 1 + "1 | \n".len());
        assert!(show.begun.is_empty());
    }
}
