//! Entries that are larger than one cell of a keyring: Windows' Credential Manager holds 2560 bytes in one.
//!
//! A small entry is one cell under the credential's name, as on every other platform. A larger one is cut into *parts*,
//! and the cell under the credential's name is its *head*: where the parts are, how many, and their digest.
//!
//! - **A crash between any two steps leaves the old entry or the new one.** New parts go beside the old ones; the head,
//!   one cell and so replaced as a whole, is written last and only once all parts can be read back.
//! - **A reader never takes a mixture for an entry.** The digest covers all parts. One that does not match, or a part that
//!   is missing, may be another process's save: the reader starts again from the head, a few times, and then says that
//!   the entry is damaged.
//! - **Nothing piles up.** Keyrings cannot be listed, so what a crash left behind must be found without a list. Parts are
//!   therefore not named by generation, which nobody remembers after a crash and a logout, but lie in one of two fixed
//!   *slots*: a save uses the slot that the head does not name, so the parts of two generations never share a slot that a
//!   head names. In a slot parts are written upwards and deleted downwards, so what is there is always parts 0 to n
//!   without a gap, and the first one missing is the end. Every save and every clear empties the slots that it does not
//!   use.
//!
//! It does not lock: whoever saves or clears holds the process lock.

use std::fmt;
use std::thread;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::zeroize::Zeroizing;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tracing::debug;

use super::entry;
use crate::error::StoreError;

/// A head has a version of its own, so that a program that knows no heads leaves it alone.
const HEAD_VERSION: u64 = 2;
/// A head that promises more is damaged: so much no server issues.
const MOST_PARTS: usize = 4096;
const REREADS: u32 = 5;

/// Named cells of limited size. Reading, writing or deleting one is whole or not at all.
pub(super) trait Cells: fmt::Debug + Send + Sync + 'static {
    /// How the place is called in messages.
    fn place(&self) -> &'static str;
    /// Returns how many bytes a cell holds, where there is a limit.
    fn limit(&self) -> Option<usize>;
    /// Returns what the cell called `name` holds, if it is there.
    fn read(&self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError>;
    /// Makes or replaces the cell called `name`. People may see `label`.
    fn write(&self, name: &str, label: &str, content: &[u8]) -> Result<(), StoreError>;
    /// Deletes the cell called `name`. None there is no error.
    fn delete(&self, name: &str) -> Result<(), StoreError>;
    /// Waits before something is read again.
    fn pause(&self) {
        thread::sleep(Duration::from_millis(50));
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Slot {
    A,
    B,
}

impl Slot {
    fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }

    fn part(self, id: &str, number: usize) -> String {
        let slot = match self {
            Self::A => 'a',
            Self::B => 'b',
        };
        format!("{id}.{slot}.{number}")
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Head {
    version: u64,
    slot: Slot,
    parts: usize,
    /// Of all parts together.
    sha256: String,
}

/// Returns the text of entry `id`, put together where it is split.
pub(super) fn read(cells: &dyn Cells, id: &str) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
    let mut tries = 0;
    loop {
        let Some(text) = cells.read(id)? else {
            return Ok(None);
        };
        let Some(head) = head_in(&text, cells.place())? else {
            return Ok(Some(text));
        };
        match gather(cells, id, &head)? {
            Ok(whole) => return Ok(Some(whole)),
            Err(what) if tries == REREADS => return Err(damaged(cells.place(), what)),
            Err(_) => {}
        }
        tries += 1;
        cells.pause();
    }
}

/// Replaces the text of entry `id`.
pub(super) fn write(cells: &dyn Cells, id: &str, label: &str, text: &[u8]) -> Result<(), StoreError> {
    let Some(limit) = cells.limit() else {
        return cells.write(id, label, text);
    };
    if text.len() <= limit {
        let live = live_head(cells, id)?;
        cells.write(id, label, text)?;
        tidy(cells, id, live.as_ref(), &[Slot::A, Slot::B]);
        return Ok(());
    }
    if text.len().div_ceil(limit) > MOST_PARTS {
        return Err(damaged(cells.place(), "it is too large to be kept"));
    }
    let live = live_head(cells, id)?;
    let slot = live.as_ref().map_or(Slot::A, |head| head.slot.other());
    // Before, not after: what a crashed save left there may be longer than what comes now.
    empty(cells, id, slot, 0)?;
    let mut parts = 0;
    for part in text.chunks(limit) {
        cells.write(&slot.part(id, parts), label, part)?;
        parts += 1;
    }
    let sha256 = URL_SAFE_NO_PAD.encode(Sha256::digest(text));
    let head = Head { version: HEAD_VERSION, slot, parts, sha256 };
    verify(cells, id, &head)?;
    let head = serde_json::to_vec(&head).map_err(|_| damaged(cells.place(), "its head cannot be written as JSON"))?;
    cells.write(id, label, &head)?;
    tidy(cells, id, live.as_ref(), &[slot.other()]);
    Ok(())
}

/// Deletes entry `id`, and whatever crashed saves left beside it. The head goes first: without it nothing is read.
pub(super) fn clear(cells: &dyn Cells, id: &str) -> Result<(), StoreError> {
    if cells.limit().is_none() {
        return cells.delete(id);
    }
    let live = live_head(cells, id)?;
    cells.delete(id)?;
    [Slot::A, Slot::B].into_iter().try_for_each(|slot| empty(cells, id, slot, parts_in(live.as_ref(), slot)))
}

/// Returns the head that `text` is, or `None` where it is an entry by itself, damaged or not.
fn head_in(text: &[u8], place: &str) -> Result<Option<Head>, StoreError> {
    if entry::version_of(text) != Some(HEAD_VERSION) {
        return Ok(None);
    }
    // Nothing of the head is a secret, but its neighbour may stand in its place.
    let head: Head = serde_json::from_slice(text).map_err(|_| damaged(place, "its head cannot be understood"))?;
    if !(1..=MOST_PARTS).contains(&head.parts) {
        return Err(damaged(place, "its head cannot be understood"));
    }
    Ok(Some(head))
}

/// Returns the head that stands. One that cannot be understood is none: what it named is lost already.
fn live_head(cells: &dyn Cells, id: &str) -> Result<Option<Head>, StoreError> {
    let head = cells.read(id)?.map(|text| head_in(&text, cells.place()));
    Ok(head.and_then(Result::ok).flatten())
}

fn parts_in(live: Option<&Head>, slot: Slot) -> usize {
    live.filter(|head| head.slot == slot).map_or(0, |head| head.parts)
}

/// Puts the parts together, or says what is wrong with them just now.
fn gather(cells: &dyn Cells, id: &str, head: &Head) -> Result<Result<Zeroizing<Vec<u8>>, &'static str>, StoreError> {
    let mut missing = false;
    let mut parts = Vec::with_capacity(head.parts);
    for number in 0..head.parts {
        // All are asked for, also after a missing one: some keyrings show late what they have taken.
        match cells.read(&head.slot.part(id, number))? {
            Some(part) => parts.push(part),
            None => missing = true,
        }
    }
    if missing {
        return Ok(Err("a part of it is missing"));
    }
    // Room for all of it at once: a buffer that grows leaves copies behind that nobody wipes.
    let mut whole = Zeroizing::new(Vec::with_capacity(parts.iter().map(|part| part.len()).sum()));
    for part in parts {
        whole.extend_from_slice(&part);
    }
    if URL_SAFE_NO_PAD.encode(Sha256::digest(&whole)) != head.sha256 {
        return Ok(Err("its parts do not belong together"));
    }
    Ok(Ok(whole))
}

/// Proves that the parts were kept, while the old head still stands: some keyrings take a write without keeping it.
fn verify(cells: &dyn Cells, id: &str, head: &Head) -> Result<(), StoreError> {
    for tries in 0..=REREADS {
        if tries > 0 {
            cells.pause();
        }
        if gather(cells, id, head)?.is_ok() {
            return Ok(());
        }
    }
    Err(damaged(cells.place(), "a write was not kept"))
}

/// Empties slots that nothing names any more. The entry is saved by then, so what fails here is left to the next save.
fn tidy(cells: &dyn Cells, id: &str, before: Option<&Head>, slots: &[Slot]) {
    for slot in slots {
        if let Err(error) = empty(cells, id, *slot, parts_in(before, *slot)) {
            debug!(%error, "could not delete old parts of the entry; the next save will");
        }
    }
}

/// Deletes all parts in `slot`: the first `known`, whatever of them is there, and all that follow without a gap.
fn empty(cells: &dyn Cells, id: &str, slot: Slot, known: usize) -> Result<(), StoreError> {
    let mut end = known;
    while cells.read(&slot.part(id, end))?.is_some() {
        end += 1;
    }
    (0..end).rev().try_for_each(|number| cells.delete(&slot.part(id, number)))
}

fn damaged(place: &str, what: &str) -> StoreError {
    StoreError::Damaged { place: place.into(), what: what.into() }
}

#[cfg(test)]
pub(super) mod tests;
