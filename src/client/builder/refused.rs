//! What setters have refused, so that one look at the end is enough.

use crate::error::Error;

/// So many errors are kept, one a setter.
const MAXIMUM: usize = 64;

#[derive(Clone, Default)]
pub struct Refused {
    /// The oldest first, each with its setter.
    errors: Vec<(&'static str, Error)>,
}

impl Refused {
    /// What came of a call. A set that succeeds makes up for one that was refused;
    /// of what is added, each is wanted.
    pub(super) fn note(&mut self, setter: &'static str, result: &Result<(), Error>) {
        let is_there = |it: &(&str, Error)| it.0 == setter;
        match result {
            Ok(()) if setter.starts_with("set_") => self.errors.retain(|it| !is_there(it)),
            Ok(()) => {}
            Err(error) => {
                if self.errors.len() < MAXIMUM && !self.errors.iter().any(is_there) {
                    self.errors.push((setter, error.clone()));
                }
            }
        }
    }

    pub(super) fn first(&self) -> Option<&Error> {
        self.errors.first().map(|it| &it.1)
    }
}
