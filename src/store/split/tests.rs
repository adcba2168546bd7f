//! Splitting against cells that are as small as Windows', fail, are late, or belong to a process that is killed.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use proptest::prelude::*;

use super::*;

const WINDOWS: usize = 2560;
/// A head fits, and little more: so few bytes make many parts.
const TINY: usize = 160;
const ID: &str = "one";

type World = Arc<Mutex<BTreeMap<String, Vec<u8>>>>;

/// One process's view of the cells.
#[derive(Debug)]
pub(in crate::store) struct FakeCells {
    limit: Option<usize>,
    world: World,
    /// So many changes are made; then the process is dead, and nothing is made or learnt any more.
    lives_for: Mutex<Option<usize>>,
    /// This change, counted from now, fails; the process lives on.
    fails_at: Mutex<Option<usize>>,
    /// A part is not seen by so many reads after it was written.
    late_by: usize,
    unseen: Mutex<BTreeMap<String, usize>>,
    /// Writes to this cell are taken and not kept.
    lost: Option<String>,
    /// Other processes' work, done before one's own next reads.
    meanwhile: Meanwhile,
    pauses: AtomicUsize,
}

#[derive(Default)]
struct Meanwhile(Mutex<Vec<(usize, Work)>>, AtomicUsize);

type Work = Box<dyn FnOnce() + Send>;

impl fmt::Debug for Meanwhile {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Meanwhile")
    }
}

impl FakeCells {
    pub(in crate::store) fn new(limit: Option<usize>) -> Self {
        Self::over(limit, &World::default())
    }

    fn over(limit: Option<usize>, world: &World) -> Self {
        Self {
            limit,
            world: Arc::clone(world),
            lives_for: Mutex::default(),
            fails_at: Mutex::default(),
            late_by: 0,
            unseen: Mutex::default(),
            lost: None,
            meanwhile: Meanwhile::default(),
            pauses: AtomicUsize::default(),
        }
    }

    fn that_dies_after(changes: usize, limit: usize, world: &World) -> Self {
        let cells = Self::over(Some(limit), world);
        *cells.lives_for.lock().unwrap() = Some(changes);
        cells
    }

    fn is_dead(&self) -> bool {
        *self.lives_for.lock().unwrap() == Some(0)
    }

    pub(in crate::store) fn names(&self) -> Vec<String> {
        self.world.lock().unwrap().keys().cloned().collect()
    }

    fn change(&self) -> Result<(), StoreError> {
        if let Some(changes) = &mut *self.lives_for.lock().unwrap() {
            *changes = changes.checked_sub(1).ok_or_else(fault)?;
        }
        let mut fails_at = self.fails_at.lock().unwrap();
        *fails_at = match *fails_at {
            Some(0) => {
                *fails_at = None;
                return Err(fault());
            }
            Some(changes) => Some(changes - 1),
            None => None,
        };
        Ok(())
    }
}

fn fault() -> StoreError {
    damaged("a fake", "a fault made for this test")
}

impl Cells for FakeCells {
    fn place(&self) -> &'static str {
        "a fake"
    }

    fn limit(&self) -> Option<usize> {
        self.limit
    }

    fn read(&self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        if self.is_dead() {
            return Err(fault());
        }
        let number = self.meanwhile.1.fetch_add(1, Ordering::SeqCst);
        let due: Vec<_> = self.meanwhile.0.lock().unwrap().extract_if(.., |(when, _)| *when == number).collect();
        for (_, work) in due {
            work();
        }
        if let Some(left @ 1..) = self.unseen.lock().unwrap().get_mut(name) {
            *left -= 1;
            return Ok(None);
        }
        Ok(self.world.lock().unwrap().get(name).cloned().map(Zeroizing::new))
    }

    fn write(&self, name: &str, _label: &str, content: &[u8]) -> Result<(), StoreError> {
        self.change()?;
        assert!(self.limit.is_none_or(|limit| content.len() <= limit), "{} bytes in a cell", content.len());
        if self.lost.as_deref() == Some(name) {
            return Ok(());
        }
        let before = self.world.lock().unwrap().insert(name.to_owned(), content.to_vec());
        if before.is_none() && name != ID && self.late_by > 0 {
            self.unseen.lock().unwrap().insert(name.to_owned(), self.late_by);
        }
        Ok(())
    }

    fn delete(&self, name: &str) -> Result<(), StoreError> {
        self.change()?;
        self.world.lock().unwrap().remove(name);
        Ok(())
    }

    fn pause(&self) {
        self.pauses.fetch_add(1, Ordering::SeqCst);
    }
}

/// An entry of `length` bytes that begins as ours do, and differs from every other `mark`'s in every part.
fn text(mark: char, length: usize) -> Vec<u8> {
    let mut text = br#"{"version":1,""#.to_vec();
    text.resize(length.max(text.len()), mark as u8);
    text
}

fn save(cells: &FakeCells, text: &[u8]) -> Result<(), StoreError> {
    write(cells, ID, "a label", text)
}

fn stored(cells: &FakeCells) -> Result<Option<Vec<u8>>, StoreError> {
    Ok(read(cells, ID)?.map(|text| text.to_vec()))
}

/// Asserts that there is one cell and the parts of `length` bytes, and nothing else.
#[track_caller]
fn assert_no_leftovers(cells: &FakeCells, length: usize) {
    let limit = cells.limit.unwrap();
    let parts = if length <= limit { 0 } else { length.div_ceil(limit) };
    let names = cells.names();
    assert_eq!(names.len(), 1 + parts, "{names:?}");
    for slot in ["one.a.", "one.b."] {
        let found = names.iter().filter(|name| name.starts_with(slot)).count();
        assert!(found == 0 || found == parts, "{names:?}");
    }
}

#[test]
fn the_first_form_of_a_head_is_still_read_and_still_written() {
    let cells = FakeCells::new(Some(WINDOWS));
    let fixture = include_bytes!("fixtures/head-v2.json").trim_ascii();
    for (name, content) in
        [(ID, fixture), ("one.b.0", b"the two parts ".as_slice()), ("one.b.1", b"of an entry".as_slice())]
    {
        cells.write(name, "", content).unwrap();
    }
    assert_eq!(stored(&cells).unwrap().unwrap(), b"the two parts of an entry");
    let head: Head = serde_json::from_slice(fixture).unwrap();
    assert_eq!(serde_json::to_vec(&head).unwrap(), fixture);
}

#[test]
fn a_small_entry_is_one_cell_with_the_entry_in_it() {
    for limit in [None, Some(WINDOWS)] {
        let cells = FakeCells::new(limit);
        save(&cells, &text('x', WINDOWS)).unwrap();
        assert_eq!(*cells.world.lock().unwrap(), BTreeMap::from([(ID.to_owned(), text('x', WINDOWS))]));
        assert_eq!(stored(&cells).unwrap(), Some(text('x', WINDOWS)));
    }
}

#[test]
fn without_a_limit_nothing_is_split() {
    let cells = FakeCells::new(None);
    save(&cells, &text('x', 256 * 1024)).unwrap();
    assert_eq!(cells.names(), [ID]);
}

#[test]
fn entries_of_all_sizes_come_back_and_leave_nothing_of_each_other() {
    let cells = FakeCells::new(Some(WINDOWS));
    let sizes = [100, WINDOWS, WINDOWS + 1, 256 * 1024, 2 * WINDOWS, 300, 2 * WINDOWS + 1, 128 * 1024, 512 * 1024, 100];
    for (mark, size) in ('a'..).zip(sizes) {
        save(&cells, &text(mark, size)).unwrap();
        assert!(stored(&cells).unwrap() == Some(text(mark, size)), "{size} bytes");
        assert_no_leftovers(&cells, size);
    }
    save(&cells, &text('z', 256 * 1024)).unwrap();
    clear(&cells, ID).unwrap();
    assert_eq!(cells.names(), [""; 0]);
    clear(&cells, ID).unwrap();
}

#[test]
fn an_entry_that_no_head_could_name_is_refused_and_the_old_one_stands() {
    let cells = FakeCells::new(Some(TINY));
    save(&cells, &text('o', 100)).unwrap();
    save(&cells, &text('n', TINY * MOST_PARTS + 1)).unwrap_err();
    assert_eq!(stored(&cells).unwrap(), Some(text('o', 100)));
    assert_no_leftovers(&cells, 100);
}

/// Every crash of a save of `new` over `old`: before its first change, between any two, after the last.
fn crash_everywhere(old: Option<usize>, new: usize, limit: usize) {
    let (old, new) = (old.map(|size| text('o', size)), text('n', new));
    let mut saw_old = false;
    for changes in 0.. {
        let world = World::default();
        let fresh = || FakeCells::over(Some(limit), &world);
        if let Some(old) = &old {
            save(&fresh(), old).unwrap();
        }
        let dying = FakeCells::that_dies_after(changes, limit, &world);
        let is_over = save(&dying, &new).is_ok() && !dying.is_dead();
        let left = world.lock().unwrap().clone();

        let found = stored(&fresh()).unwrap();
        assert!(found == old || found.as_ref() == Some(&new), "a mixture after {changes} changes");
        saw_old |= found == old;
        for next in [limit / 2, limit + 1, 3 * limit] {
            world.lock().unwrap().clone_from(&left);
            save(&fresh(), &text('x', next)).unwrap();
            assert!(stored(&fresh()).unwrap() == Some(text('x', next)), "{next} bytes after {changes} changes");
            assert_no_leftovers(&fresh(), next);
        }
        world.lock().unwrap().clone_from(&left);
        clear(&fresh(), ID).unwrap();
        assert_eq!(fresh().names(), [""; 0], "after {changes} changes and a clear");
        if is_over {
            assert_eq!(found, Some(new));
            break;
        }
    }
    assert!(saw_old, "no crash came early enough");
}

#[test]
fn a_crash_in_a_save_leaves_the_old_entry_or_the_new_one_and_nothing_for_ever() {
    // Access and refresh token of 64 KiB each, on cells as small as Windows', over one as large and over a small one.
    crash_everywhere(Some(100 * 1024), 130 * 1024, WINDOWS);
    crash_everywhere(Some(700), 20 * 1024, WINDOWS);
    for old in [None, Some(100), Some(TINY + 1), Some(10 * TINY)] {
        for new in [100, TINY + 1, 4 * TINY, 20 * TINY] {
            crash_everywhere(old, new, TINY);
        }
    }
}

#[test]
fn a_crash_in_a_clear_leaves_the_entry_or_none_and_nothing_for_ever() {
    for changes in 0..12 {
        let world = World::default();
        let fresh = || FakeCells::over(Some(TINY), &world);
        save(&fresh(), &text('o', 8 * TINY)).unwrap();
        let _ = clear(&FakeCells::that_dies_after(changes, TINY, &world), ID);
        assert_eq!(stored(&fresh()).unwrap().is_some(), changes == 0, "the head goes first");
        let left = world.lock().unwrap().clone();
        clear(&fresh(), ID).unwrap();
        assert_eq!(fresh().names(), [""; 0]);
        *world.lock().unwrap() = left;
        save(&fresh(), &text('n', 100)).unwrap();
        assert_no_leftovers(&fresh(), 100);
    }
}

#[test]
fn a_change_that_fails_leaves_the_old_entry_or_the_new_one() {
    for changes in 0..30 {
        let cells = FakeCells::new(Some(TINY));
        let (old, new) = (text('o', 6 * TINY), text('n', 9 * TINY));
        save(&cells, &old).unwrap();
        *cells.fails_at.lock().unwrap() = Some(changes);
        let result = save(&cells, &new);
        *cells.fails_at.lock().unwrap() = None;
        let found = stored(&cells).unwrap().unwrap();
        // What fails after the head was written is only tidying.
        assert!(if result.is_ok() { found == new } else { found == old }, "after {changes} changes: {result:?}");
        save(&cells, &new).unwrap();
        assert_no_leftovers(&cells, new.len());
    }
}

proptest! {
    #[test]
    fn whatever_crashes_in_whatever_order_a_reader_finds_an_entry_that_was_saved(
        steps in prop::collection::vec((prop::option::of(1_usize..8 * TINY), prop::option::of(0_usize..20)), 1..12),
    ) {
        let world = World::default();
        let fresh = || FakeCells::over(Some(TINY), &world);
        let mut before = None;
        for (mark, (size, dies)) in ('a'..).zip(steps) {
            let cells = dies.map_or_else(fresh, |changes| FakeCells::that_dies_after(changes, TINY, &world));
            let after = size.map(|size| text(mark, size));
            let result = match &after {
                Some(text) => save(&cells, text),
                None => clear(&cells, ID),
            };
            let found = stored(&fresh()).unwrap();
            if dies.is_none() {
                prop_assert!(result.is_ok());
                prop_assert!(found == after);
                let most = after.as_ref().map_or(0, |text| 1 + text.len().div_ceil(TINY));
                prop_assert!(fresh().names().len() <= most, "{:?}", fresh().names());
            } else {
                prop_assert!(found == after || found == before);
            }
            before = found;
        }
        clear(&fresh(), ID).unwrap();
        prop_assert_eq!(fresh().names(), [""; 0]);
    }
}

#[test]
fn a_reader_beside_writers_gets_one_entry_whole_whenever_they_come() {
    for sizes in [[6, 9, 4], [1, 6, 1], [6, 1, 6], [8, 8, 8]] {
        let texts: Vec<_> = ('a'..).zip(sizes).map(|(mark, parts)| text(mark, parts * TINY)).collect();
        for first in 0..12 {
            // The second save uses the slot again that the reader may be reading from.
            for second in first..12 {
                let world = World::default();
                save(&FakeCells::over(Some(TINY), &world), &texts[0]).unwrap();
                let reader = FakeCells::over(Some(TINY), &world);
                for (when, text) in [first, second].into_iter().zip(&texts[1..]) {
                    let (world, text) = (Arc::clone(&world), text.clone());
                    let work = move || save(&FakeCells::over(Some(TINY), &world), &text).unwrap();
                    reader.meanwhile.0.lock().unwrap().push((when, Box::new(work)));
                }
                let found = stored(&reader).unwrap().unwrap();
                assert!(texts.contains(&found), "a mixture, with saves before reads {first} and {second}");
            }
        }
    }
}

#[test]
fn parts_that_become_visible_late_are_waited_for() {
    let mut cells = FakeCells::new(Some(TINY));
    cells.late_by = 3;
    save(&cells, &text('n', 8 * TINY)).unwrap();
    assert!(stored(&cells).unwrap() == Some(text('n', 8 * TINY)));
    assert_eq!(cells.pauses.load(Ordering::SeqCst), 3, "once a try, not once a part");
}

#[test]
fn a_part_that_is_not_kept_fails_the_save_and_the_old_entry_stands() {
    for part in ["one.b.0", "one.b.4", "one.b.8"] {
        let mut cells = FakeCells::new(Some(TINY));
        save(&cells, &text('o', 8 * TINY)).unwrap();
        cells.lost = Some(part.to_owned());
        let error = save(&cells, &text('n', 9 * TINY)).unwrap_err().to_string();
        assert!(error.contains("a write was not kept"), "{error}");
        assert_eq!(stored(&cells).unwrap(), Some(text('o', 8 * TINY)));
    }
}

#[test]
fn damage_is_told_without_being_quoted_and_the_next_save_mends_it() {
    type Damage = fn(&mut BTreeMap<String, Vec<u8>>);
    let damages: [(Damage, &str); 7] = [
        (|cells| cells.get_mut("one.a.3").unwrap()[7] ^= 1, "its parts do not belong together"),
        (|cells| cells.get_mut("one.a.7").unwrap().truncate(9), "its parts do not belong together"),
        (|cells| drop(cells.remove("one.a.3")), "a part of it is missing"),
        (
            |cells| drop(cells.insert(ID.into(), br#"{"version":2,"canary":1}"#.to_vec())),
            "its head cannot be understood",
        ),
        (
            |cells| drop(cells.insert(ID.into(), br#"{"version":2,"slot":"a","parts":0,"sha256":"canary"}"#.to_vec())),
            "its head cannot be understood",
        ),
        (
            |cells| {
                let head = br#"{"version":2,"slot":"a","parts":99999999999,"sha256":"canary"}"#;
                drop(cells.insert(ID.into(), head.to_vec()));
            },
            "its head cannot be understood",
        ),
        (
            |cells| drop(cells.insert(ID.into(), br#"{"version":2,"slot":"b","parts":2,"sha256":"canary"}"#.to_vec())),
            "a part of it is missing",
        ),
    ];
    for (damage, expected) in damages {
        let cells = FakeCells::new(Some(TINY));
        save(&cells, &text('o', 8 * TINY)).unwrap();
        damage(&mut cells.world.lock().unwrap());
        let left = cells.world.lock().unwrap().clone();
        let error = stored(&cells).unwrap_err();
        assert!(matches!(&error, StoreError::Damaged { what, .. } if what == expected), "{error}");
        assert!(!error.to_string().contains("canary"), "{error}");
        assert!(cells.pauses.load(Ordering::SeqCst) <= REREADS as usize);
        assert_eq!(*cells.world.lock().unwrap(), left, "a reader changes nothing");

        for size in [100, 3 * TINY] {
            cells.world.lock().unwrap().clone_from(&left);
            save(&cells, &text('n', size)).unwrap();
            assert_eq!(stored(&cells).unwrap(), Some(text('n', size)));
            assert_no_leftovers(&cells, size);
        }
        *cells.world.lock().unwrap() = left;
        clear(&cells, ID).unwrap();
        assert_eq!(cells.names(), [""; 0]);
    }
}

#[test]
fn what_is_no_head_is_handed_on_as_it_is() {
    let cells = FakeCells::new(Some(TINY));
    for text in ["", "{", "canary", r#"{"version":1}"#, r#"{"version":3,"slot":"a"}"#] {
        cells.world.lock().unwrap().insert(ID.into(), text.as_bytes().to_vec());
        assert_eq!(stored(&cells).unwrap(), Some(text.as_bytes().to_vec()));
    }
}
