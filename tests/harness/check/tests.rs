//! Good histories pass, and each way to spoil one is found.

use std::collections::BTreeSet;

use rand::{SeedableRng, rngs::StdRng};

use super::*;

mod mutation;
mod town;

/// Good histories that are spoilt.
const TRIED: u64 = 240;

/// A mutation is done to so many of them, as far as they have what it takes.
const ENOUGH: usize = 50;

/// Done less often, a mutation says little.
const FEW: usize = 5;

#[test]
fn good_histories_pass() {
    for seed in 0..600 {
        let history = town::good(seed);
        let found: Vec<_> = check(&history).iter().map(ToString::to_string).collect();
        assert!(found.is_empty(), "seed {seed}, {} records:\n{}", history.len(), found.join("\n"));
    }
}

#[test]
fn every_mutation_is_found_by_its_rule() {
    let good: Vec<_> = (0..TRIED).map(town::good).collect();
    let mut faults = Vec::new();
    for (name, rule, spoil) in mutation::MUTATIONS {
        let spoilt = good.iter().enumerate().filter_map(|(seed, history)| {
            let mut history = history.clone();
            spoil(&mut history, &mut StdRng::seed_from_u64(seed as u64)).map(|()| (seed, history))
        });
        let mut applied = 0;
        for (seed, history) in spoilt.take(ENOUGH) {
            applied += 1;
            let found: BTreeSet<_> = check(&history).iter().map(|violation| violation.rule).collect();
            if !found.contains(rule) {
                faults.push(format!("{name}: seed {seed} breaks {found:?}, not {rule:?}"));
            }
        }
        if applied < FEW {
            faults.push(format!("{name}: possible in {applied} of {TRIED} histories"));
        }
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn every_rule_has_a_mutation() {
    let covered: BTreeSet<_> = mutation::MUTATIONS.iter().map(|(_, rule, _)| *rule).collect();
    assert_eq!(covered, Rule::ALL.iter().copied().collect());
}
