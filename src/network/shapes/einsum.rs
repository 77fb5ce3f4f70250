//! The shape of a sum of products that is given as letters: `bij,bjk->bik`.

use std::collections::BTreeMap;

use super::fact::{Dim, Fact};

/// # Errors
/// When the equation and the operands do not fit; letters alone are understood, no dots.
pub(super) fn shape(equation: &str, operands: &[&Fact]) -> Result<Vec<Dim>, String> {
    let equation: String = equation.chars().filter(|letter| !letter.is_whitespace()).collect();
    let wrong = |reason: String| format!("equation {equation:?}: {reason}");
    let (left, right) = match equation.split_once("->") {
        Some((left, right)) => (left, Some(right)),
        None => (equation.as_str(), None),
    };
    let terms: Vec<&str> = left.split(',').collect();
    if terms.len() != operands.len() {
        return Err(wrong(format!("it has {} terms for {} inputs", terms.len(), operands.len())));
    }
    let mut lengths: BTreeMap<char, (Dim, usize)> = BTreeMap::new();
    for (term, operand) in terms.iter().zip(operands) {
        if term.chars().count() != operand.rank() {
            return Err(wrong(format!("term {term:?} meets a tensor of {} axes", operand.rank())));
        }
        for (letter, dim) in term.chars().zip(&operand.shape) {
            if !letter.is_ascii_alphabetic() {
                return Err(wrong(format!("{letter:?} is no letter")));
            }
            let (known, count) = lengths.entry(letter).or_insert((*dim, 0));
            *count += 1;
            *known = known
                .broadcast(*dim)
                .ok_or_else(|| wrong(format!("{letter} is {known} and {dim} long")))?;
        }
    }
    let of = |letter: char| {
        let known = lengths.get(&letter).map(|(dim, _)| *dim);
        known.ok_or_else(|| wrong(format!("{letter:?} is in no term")))
    };
    match right {
        Some(right) => right.chars().map(of).collect(),
        // Letters that stand once, in the order of the alphabet.
        None => Ok(lengths.values().filter(|(_, n)| *n == 1).map(|(dim, _)| *dim).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::array::ElementType;

    #[test]
    fn letters_stand_for_lengths() {
        let fact = |shape: &[usize]| {
            Fact::new(ElementType::F32, shape.iter().map(|&n| Dim::Known(n)).collect())
        };
        let (a, b) = (fact(&[2, 3, 4]), fact(&[2, 4, 5]));
        for (equation, expected) in [
            ("bij,bjk->bik", Ok("[2, 3, 5]")),
            ("bij, bjk -> kb", Ok("[5, 2]")),
            ("bij,bjk", Ok("[3, 5]")),
            ("bij,bjk->bx", Err("'x' is in no term")),
            ("bij,bkj->bik", Err("j is 4 and 5 long")),
            ("bij->b", Err("it has 1 terms for 2 inputs")),
            ("ij,bjk->b", Err("term \"ij\" meets a tensor of 3 axes")),
            ("b..,bjk->b", Err("'.' is no letter")),
        ] {
            let found = shape(equation, &[&a, &b]);
            match (found, expected) {
                (Ok(found), Ok(expected)) => {
                    assert_eq!(crate::network::error::show_shape(&found), expected, "{equation}");
                }
                (Err(found), Err(expected)) => assert!(found.contains(expected), "{found}"),
                (found, expected) => panic!("{equation}: {found:?}, expected {expected:?}"),
            }
        }
    }
}
