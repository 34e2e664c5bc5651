//! What a process is willing to receive: filters, for the time of a live update.
//!
//! A chain of black lists and white lists, evaluated in the order of their installation. A
//! message starts as admitted if the first list is black, and as refused if it is white. A black
//! list is asked about admitted messages only and refuses those it matches; a white list is asked
//! about refused ones only and admits those it matches. What is refused stays where it is.

use abi::protocols::{FilterKind, FilterRule};
use abi::{Callers, Endpoint, Errno};
use alloc::vec::Vec;

/// A chain of filters, each rule with the kind of its list.
///
/// Neighbours of one kind are one list: asking them one by one gives the same answer.
#[derive(Clone, Debug, Default)]
pub struct Filters(Vec<(FilterKind, FilterRule)>);

impl Filters {
    /// How many rules a process can have.
    pub const LIMIT: usize = 128;

    /// Tells whether there is no rule, so that everything is let through.
    #[must_use]
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Appends rules to the chain, all or none.
    pub(crate) fn append(&mut self, kind: FilterKind, rules: &[FilterRule]) -> Result<(), Errno> {
        if self.0.len() + rules.len() > Self::LIMIT {
            return Err(Errno::E2BIG);
        }
        self.0.try_reserve(rules.len()).map_err(|_| Errno::ENOMEM)?;
        self.0.extend(rules.iter().map(|rule| (kind, *rule)));
        Ok(())
    }

    /// Tells whether a message is let through.
    pub(crate) fn admit(&self, source: Endpoint, class: Callers, number: u16) -> bool {
        let starts_admitted = !matches!(self.0.first(), Some((FilterKind::White, _)));
        self.0.iter().fold(starts_admitted, |is_admitted, (kind, rule)| {
            let is_asked = is_admitted == (*kind == FilterKind::Black);
            if is_asked && matches(rule, source, class, number) { !is_admitted } else { is_admitted }
        })
    }
}

/// Tells whether a rule means the message: all that it names must be right.
const fn matches(rule: &FilterRule, source: Endpoint, class: Callers, number: u16) -> bool {
    (rule.source.to_bits() == Endpoint::NONE.to_bits() || rule.source.to_bits() == source.to_bits())
        && (rule.classes.0 == 0 || rule.classes.admits(class))
        && (rule.number == 0 || rule.number == number)
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Endpoint = Endpoint::at_boot(1);
    const B: Endpoint = Endpoint::at_boot(2);

    fn rule(source: Endpoint, classes: Callers, number: u16) -> FilterRule {
        FilterRule { source, classes, number }
    }

    fn chain(lists: &[(FilterKind, &[FilterRule])]) -> Filters {
        let mut filters = Filters::default();
        for (kind, rules) in lists {
            filters.append(*kind, rules).unwrap();
        }
        filters
    }

    #[test]
    fn lists_are_asked_in_turn_and_only_about_what_they_could_change() {
        const ANYBODY: Callers = Callers(0);
        let (white, black) = (FilterKind::White, FilterKind::Black);
        let from_a = rule(A, ANYBODY, 0);
        let calls = rule(Endpoint::NONE, ANYBODY, 7);
        let programs = rule(Endpoint::NONE, Callers::PROGRAM, 0);
        for (filters, admitted) in [
            (chain(&[]), [true, true, true]),
            (chain(&[(black, &[from_a])]), [false, false, true]),
            (chain(&[(white, &[from_a])]), [true, true, false]),
            (chain(&[(white, &[from_a]), (black, &[calls])]), [false, true, false]),
            (chain(&[(black, &[from_a]), (white, &[calls])]), [true, false, true]),
            (chain(&[(white, &[from_a, programs])]), [true, true, true]),
            (chain(&[(white, &[rule(A, ANYBODY, 7)])]), [true, false, false]),
        ] {
            let messages = [(A, Callers::SERVICE, 7), (A, Callers::SERVICE, 8), (B, Callers::PROGRAM, 7)];
            assert_eq!(
                messages.map(|(source, class, number)| filters.admit(source, class, number)),
                admitted
            );
        }
    }

    #[test]
    fn a_chain_grows_to_its_limit_and_no_further() {
        let some = [rule(A, Callers(0), 1); 5];
        let mut filters = Filters::default();
        for _ in 0..Filters::LIMIT / 5 {
            filters.append(FilterKind::Black, &some).unwrap();
        }
        assert_eq!(filters.append(FilterKind::Black, &some), Err(Errno::E2BIG));
        assert_eq!(filters.append(FilterKind::Black, &some[..Filters::LIMIT % 5]), Ok(()));
    }
}
