//! Every crate in the dependency tree has a licence that `deny.toml` allows, and comes from crates.io.
//!
//! The lists are read from `deny.toml`, so that this test and cargo-deny cannot disagree about them. It reads what
//! each crate declares; unlike cargo-deny it does not compare the declaration with the licence files.

#![expect(clippy::expect_used, reason = "a broken expectation is a failed test")]

use std::{collections::HashMap, path::Path, process::Command};

use serde::Deserialize;

#[test]
fn every_crate_has_an_allowed_licence() {
    let policy = Policy::read();
    let refused: Vec<String> = packages()
        .iter()
        .filter_map(|package| policy.objection(package).map(|why| format!("{}: {why}", package.name)))
        .collect();

    assert!(refused.is_empty(), "deny.toml does not allow:\n{}", refused.join("\n"));
}

#[test]
fn every_crate_comes_from_crates_io() {
    let strangers: Vec<String> = packages()
        .into_iter()
        .filter(|package| package.source.as_ref().is_some_and(|source| !source.ends_with("/crates.io-index")))
        .map(|package| format!("{} from {}", package.name, package.source.unwrap_or_default()))
        .collect();

    assert!(strangers.is_empty(), "not from crates.io:\n{}", strangers.join("\n"));
}

#[test]
fn licence_expressions_are_judged_as_spdx_says() {
    let allowed = |licence: &str| ["MIT", "ISC", "Apache-2.0"].contains(&licence);
    let cases = [
        ("MIT", Ok(true)),
        ("GPL-3.0-or-later", Ok(false)),
        ("GPL-3.0-or-later OR MIT", Ok(true)),
        ("GPL-3.0-or-later/MIT", Ok(true)),
        ("GPL-3.0-or-later / MIT", Ok(true)),
        ("MIT AND GPL-3.0-or-later", Ok(false)),
        // AND binds tighter than OR.
        ("ISC OR MIT AND GPL-3.0-or-later", Ok(true)),
        ("(ISC OR MIT) AND GPL-3.0-or-later", Ok(false)),
        ("(ISC OR GPL-3.0-or-later) AND (MIT OR GPL-3.0-or-later)", Ok(true)),
        // An exception makes another licence of it, which is to be allowed by its full name.
        ("Apache-2.0 WITH LLVM-exception", Ok(false)),
        ("Apache-2.0 WITH LLVM-exception OR MIT", Ok(true)),
        ("", Err("a licence is missing at the end")),
        ("MIT OR", Err("a licence is missing at the end")),
        ("MIT ISC", Err("`ISC` is not expected here")),
        ("(MIT", Err("`)` is missing")),
        ("MIT)", Err("`)` is not expected here")),
        ("OR MIT", Err("`OR` is not expected here")),
        ("MIT WITH", Err("`WITH` names no exception")),
    ];

    for (expression, expected) in cases {
        assert_eq!(is_allowed(expression, allowed), expected.map_err(str::to_owned), "{expression:?}");
    }
}

/// The part of a package in `cargo metadata` that matters here.
#[derive(Deserialize)]
struct Package {
    name: String,
    license: Option<String>,
    source: Option<String>,
}

/// `[licenses]` of `deny.toml`.
#[derive(Deserialize)]
struct Policy {
    allow: Vec<String>,
    exceptions: Vec<Exception>,
}

#[derive(Deserialize)]
struct Exception {
    #[serde(rename = "crate")]
    name: String,
    allow: Vec<String>,
}

impl Policy {
    fn read() -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deny.toml");
        let text = std::fs::read_to_string(path).expect("deny.toml is readable");
        let mut tables: HashMap<String, toml::Value> = toml::from_str(&text).expect("deny.toml is TOML");
        let licenses = tables.remove("licenses").expect("deny.toml has `[licenses]`");
        licenses.try_into().expect("`[licenses]` has `allow` and `exceptions`")
    }

    /// Returns why the package may not be in the tree, if so.
    fn objection(&self, package: &Package) -> Option<String> {
        let Some(expression) = &package.license else {
            return Some("declares no licence".to_owned());
        };
        let for_this_crate = |exception: &&Exception| exception.name == package.name;
        let mut allowed: Vec<&String> = self.allow.iter().collect();
        allowed.extend(self.exceptions.iter().filter(for_this_crate).flat_map(|exception| &exception.allow));

        match is_allowed(expression, |licence| allowed.iter().any(|allowed| *allowed == licence)) {
            Ok(true) => None,
            Ok(false) => Some(expression.clone()),
            Err(error) => Some(format!("{expression}: {error}")),
        }
    }
}

/// Lists the packages of the tree for all platforms; without a network, where those of other platforms were never
/// downloaded, for this one.
fn packages() -> Vec<Package> {
    #[derive(Deserialize)]
    struct Metadata {
        packages: Vec<Package>,
    }

    let output = metadata(&[]).or_else(|_| metadata(&["--offline", "--filter-platform", &host()]));
    let json = output.unwrap_or_else(|error| panic!("cargo metadata: {error}"));
    let Metadata { packages } = serde_json::from_slice(&json).expect("`cargo metadata` prints JSON");
    assert!(packages.len() > 2, "`cargo metadata` lists the dependencies");
    packages
}

fn metadata(options: &[&str]) -> Result<Vec<u8>, String> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--all-features", "--locked"])
        .args(options)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    if output.status.success() { Ok(output.stdout) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

/// Returns the target triple of this machine.
fn host() -> String {
    let output = Command::new(env!("CARGO")).arg("-vV").output().expect("cargo runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().find_map(|line| line.strip_prefix("host: ")).expect("`cargo -vV` names the host").to_owned()
}

/// Judges an SPDX licence expression, also in the older form with a slash for `OR`.
fn is_allowed(expression: &str, allowed: impl Fn(&str) -> bool) -> Result<bool, String> {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let mut words = Words { rest: spaced.split_whitespace().collect(), allowed: &allowed };
    let verdict = words.any()?;
    match words.rest.first() {
        None => Ok(verdict),
        Some(word) => Err(format!("`{word}` is not expected here")),
    }
}

/// What is left to read of a licence expression.
struct Words<'a> {
    rest: Vec<&'a str>,
    allowed: &'a dyn Fn(&str) -> bool,
}

impl Words<'_> {
    fn any(&mut self) -> Result<bool, String> {
        let mut verdict = self.all()?;
        while self.take("OR") {
            verdict |= self.all()?;
        }
        Ok(verdict)
    }

    fn all(&mut self) -> Result<bool, String> {
        let mut verdict = self.one()?;
        while self.take("AND") {
            verdict &= self.one()?;
        }
        Ok(verdict)
    }

    fn one(&mut self) -> Result<bool, String> {
        if self.take("(") {
            let verdict = self.any()?;
            return if self.take(")") { Ok(verdict) } else { Err("`)` is missing".to_owned()) };
        }
        let licence = self.name("a licence is missing at the end")?;
        if self.take("WITH") {
            let exception = self.name("`WITH` names no exception")?;
            return Ok((self.allowed)(&format!("{licence} WITH {exception}")));
        }
        Ok((self.allowed)(&licence))
    }

    fn name(&mut self, missing: &str) -> Result<String, String> {
        match self.rest.first() {
            None => Err(missing.to_owned()),
            Some(word @ (&"OR" | &"AND" | &"WITH" | &"(" | &")")) => Err(format!("`{word}` is not expected here")),
            Some(_) => Ok(self.rest.remove(0).to_owned()),
        }
    }

    fn take(&mut self, word: &str) -> bool {
        let is_next = self.rest.first() == Some(&word);
        if is_next {
            self.rest.remove(0);
        }
        is_next
    }
}
