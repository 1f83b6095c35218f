//! Texts that have come over a socket, small ones of them joined: an array of
//! messages behind another is one array of both, which costs less than two.

use std::collections::VecDeque;

/// No longer than this together. Who keeps one event of them keeps all.
const JOINED: usize = 8 * 1024;

/// One text, or several that are joined.
pub(super) struct Frame {
    text: String,
    /// Where each of them ends but the last one, if there is more than one.
    ends: Vec<usize>,
}

impl Frame {
    fn new(text: &str) -> Self {
        Self {
            text: text.to_owned(),
            ends: Vec::new(),
        }
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    pub fn into_text(self) -> String {
        self.text
    }

    pub fn is_joined(&self) -> bool {
        !self.ends.is_empty()
    }

    /// Of how many it is made, and how long they were.
    pub fn size(&self) -> (usize, usize) {
        (1 + self.ends.len(), self.text.len() + self.ends.len())
    }

    fn join(&mut self, text: &str) -> bool {
        let fits = self.text.len() + text.len() <= JOINED;
        let is_array = |it: &str| it.len() > 2 && it.starts_with('[') && it.ends_with(']');
        if !fits || !is_array(&self.text) || !is_array(text) {
            return false;
        }
        self.text.pop();
        self.ends.push(self.text.len());
        self.text.push(',');
        self.text.push_str(text.get(1..).unwrap_or_default());
        true
    }

    /// Each as it came.
    fn split(&self) -> impl DoubleEndedIterator<Item = Self> + '_ {
        let last = self.ends.len();
        (0..=last).map(move |index| {
            let before = index.checked_sub(1).and_then(|it| self.ends.get(it));
            let from = before.map_or(0, |it| it + 1);
            let to = self.ends.get(index).copied().unwrap_or(self.text.len());
            let part = self.text.get(from..to).unwrap_or_default();
            let begin = if index == 0 { "" } else { "[" };
            let end = if index == last { "" } else { "]" };
            Self::new(&format!("{begin}{part}{end}"))
        })
    }
}

/// Those that wait, in their order.
pub(super) struct Frames {
    waiting: VecDeque<Frame>,
    joins: bool,
}

impl Frames {
    pub fn new(joins: bool) -> Self {
        Self {
            waiting: VecDeque::new(),
            joins,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub fn push(&mut self, text: &str) {
        let last = self.waiting.back_mut().filter(|_| self.joins);
        if !last.is_some_and(|it| it.join(text)) {
            self.waiting.push_back(Frame::new(text));
        }
    }

    pub fn take(&mut self) -> Option<Frame> {
        self.waiting.pop_front()
    }

    /// Something in it is wrong: each comes by itself, so that the first that is wrong
    /// is known, and what came before it counts.
    pub fn take_apart(&mut self, frame: &Frame) {
        for one in frame.split().rev() {
            self.waiting.push_front(one);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(frames: &mut Frames) -> Vec<Frame> {
        std::iter::from_fn(|| frames.take()).collect()
    }

    #[test]
    fn arrays_are_joined_and_taken_apart_as_they_came() {
        let texts = [
            r#"[{"a":1}]"#,
            "[2,3]",
            "[ 4 ]",
            "[]",
            "[5]",
            "{}",
            "[6]",
            "[7] ",
            "[8]",
        ];
        let mut frames = Frames::new(true);
        texts.iter().for_each(|it| frames.push(it));
        let joined = all(&mut frames);
        let shown: Vec<_> = joined.iter().map(Frame::text).collect();
        assert_eq!(
            shown,
            [
                r#"[{"a":1},2,3, 4 ]"#,
                "[]",
                "[5]",
                "{}",
                "[6]",
                "[7] ",
                "[8]"
            ]
        );
        let sizes = joined.iter().map(Frame::size);
        let sizes = sizes.fold((0, 0), |sum, it| (sum.0 + it.0, sum.1 + it.1));
        assert_eq!(sizes, (texts.len(), texts.concat().len()));
        for frame in joined.iter().rev() {
            frames.take_apart(frame);
        }
        let apart = all(&mut frames);
        assert_eq!(apart.iter().map(Frame::text).collect::<Vec<_>>(), texts);
    }

    #[test]
    fn no_more_is_joined_than_may_be_kept_for_one_event() {
        let text = format!("[{:?}]", "x".repeat(1_000));
        let large = format!("[{:?}]", "y".repeat(3 * JOINED));
        let mut frames = Frames::new(true);
        (0..100).for_each(|_| frames.push(&text));
        frames.push(&large);
        let joined = all(&mut frames);
        assert!(joined.len() < 20);
        assert_eq!(joined.last().map(Frame::text), Some(&*large));
        assert!(joined
            .iter()
            .rev()
            .skip(1)
            .all(|it| it.text().len() <= JOINED));
        let mut frames = Frames::new(false);
        (0..3).for_each(|_| frames.push(&text));
        assert_eq!(all(&mut frames).len(), 3);
    }
}
