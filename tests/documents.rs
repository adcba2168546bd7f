//! What the documents say of the tests is so.

#![expect(clippy::unwrap_used, reason = "a broken expectation is a failed test")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Collects the names of all functions in the sources under `directory`.
fn functions(directory: &Path, names: &mut BTreeSet<String>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            functions(&path, names);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(path).unwrap();
            let declared =
                text.lines().filter_map(|line| line.trim_start().trim_start_matches("async ").strip_prefix("fn "));
            names.extend(declared.filter_map(|rest| Some(rest.split_once('(')?.0.to_owned())));
        }
    }
}

/// Returns the tests that a page names: what stands between backquotes in the last column of a table's row.
fn tests_named_in(page: &str) -> Vec<&str> {
    page.lines()
        .filter_map(|line| line.strip_suffix(" |")?.rsplit_once(" | "))
        .flat_map(|(_, column)| column.split('`').skip(1).step_by(2))
        .filter(|name| name.contains("::") || name.starts_with("no_request"))
        .collect()
}

/// Expects each of at least `fewest` tests that a page names to be there.
fn check(page: &str, fewest: usize, sources: &[&str]) {
    let mut there = BTreeSet::new();
    for directory in sources {
        functions(Path::new(directory), &mut there);
    }
    let page = fs::read_to_string(page).unwrap();
    let tests = tests_named_in(&page);
    assert!(tests.len() > fewest, "{} tests are named", tests.len());
    let missing: Vec<_> = tests.iter().filter(|name| !there.contains(name.rsplit("::").next().unwrap())).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn every_test_that_the_page_on_reliability_names_is_there() {
    check("docs/RELIABILITY.md", 60, &["src", "tests"]);
}

#[test]
fn every_test_that_the_page_on_security_names_is_there() {
    check("docs/SECURITY-MODEL.md", 80, &["server/src", "server/tests", "tests/cli"]);
}

/// Of each item of the checklist that applies, one test at least is named after it: `s1_s2_…` is named after both.
#[test]
fn the_tests_of_the_security_checklist_are_named_after_its_items() {
    let page = fs::read_to_string("docs/SECURITY-MODEL.md").unwrap();
    let mut items = 0;
    for row in page.lines() {
        let Some(item) = row.strip_prefix("| ").and_then(|row| row.split_once(' ')).map(|(item, _)| item) else {
            continue;
        };
        let numbered = item.len() > 1 && item.starts_with(['S', 'R', 'E']) && item[1..].parse::<u32>().is_ok();
        // What is the client's is named as the client's other tests are; what does not apply has no test.
        if !numbered || item == "R3" || row.contains("| – (") {
            continue;
        }
        let item = item.to_lowercase();
        let named = tests_named_in(row).into_iter().any(|test| {
            let name = test.rsplit("::").next().unwrap();
            name.split('_').take_while(|part| part.len() < 4).any(|part| part == item)
        });
        assert!(named, "no test of {item} is named after it: {row}");
        items += 1;
    }
    assert_eq!(items, 7 + 10 + 8);
}
