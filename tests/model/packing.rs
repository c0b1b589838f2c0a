//! States in three words, and a table of all that were visited.

// Words are taken apart into their fields; `Stage::new` and `Oracle` see to it that each fits.
#![allow(clippy::cast_possible_truncation)]

use crate::oracle::{Object, PlanId, StatusId};
use crate::replica::Replica;
use crate::world::World;

/// A state, packed.
pub type Packed = [u64; 3];

impl World {
    /// The state in three words. The replicas are alike, so that two states that differ only in which is which are one.
    pub fn pack(&self) -> Packed {
        let [one, two] = self.replicas.map(|replica| replica.pack());
        let server = u64::from(self.status)
            | u64::from(self.now) << 16
            | u64::from(self.directory) << 20
            | (self.object as u64) << 24
            | u64::from(self.letters) << 32;
        if one <= two { [server, one, two] } else { [server, two, one] }
    }

    /// The state of three words.
    pub fn unpack(packed: Packed) -> Self {
        let [server, one, two] = packed;
        let objects = [Object::Waiting, Object::Approved, Object::Denied, Object::Gone];
        Self {
            status: server as StatusId,
            now: (server >> 16) as u8 & 15,
            directory: (server >> 20) as u8 & 15,
            object: objects[(server >> 24) as usize & 3],
            letters: (server >> 32) as u32,
            replicas: [Replica::unpack(one), Replica::unpack(two)],
        }
    }

    /// What the server holds, without anybody's copies.
    pub fn server(&self) -> u64 {
        self.pack()[0]
    }

    /// The seconds of all letters, two bits each.
    pub fn seconds(&self) -> u16 {
        (0..8).fold(0, |seconds, letter| seconds | ((self.letters >> (4 * letter + 2)) as u16 & 3) << (2 * letter))
    }
}

impl Replica {
    /// One word.
    pub fn pack(&self) -> u64 {
        u64::from(self.status)
            | u64::from(self.newest) << 16
            | u64::from(self.object_seen) << 17
            | u64::from(self.base_newest) << 18
            | u64::from(self.stopped) << 19
            | u64::from(self.directory) << 20
            | u64::from(self.listed) << 22
            | u64::from(self.seen) << 24
            | u64::from(self.todo) << 32
            | u64::from(self.gone) << 42
            | u64::from(self.plan) << 50
    }

    /// The replica of a word.
    pub fn unpack(packed: u64) -> Self {
        Self {
            status: packed as StatusId,
            newest: packed & 1 << 16 != 0,
            object_seen: packed & 1 << 17 != 0,
            base_newest: packed & 1 << 18 != 0,
            stopped: packed & 1 << 19 != 0,
            directory: (packed >> 20) as u8 & 3,
            listed: (packed >> 22) as u8 & 3,
            seen: (packed >> 24) as u8,
            todo: (packed >> 32) as u16 & 0x3ff,
            gone: (packed >> 42) as u8,
            plan: (packed >> 50) as PlanId,
        }
    }
}

/// Every state, and a table to find it in: open addressing over indices, no more than half full.
pub struct States {
    /// In the order in which they were reached.
    pub list: Vec<Packed>,
    table: Vec<u32>,
}

impl States {
    const FREE: u32 = u32::MAX;

    /// None yet.
    pub fn new() -> Self {
        Self { list: Vec::new(), table: vec![Self::FREE; 1 << 16] }
    }

    /// Whether it is new.
    pub fn insert(&mut self, packed: Packed) -> bool {
        if self.list.len() * 2 >= self.table.len() {
            self.grow();
        }
        let place = self.place(&packed);
        if self.table[place] != Self::FREE {
            return false;
        }
        self.table[place] = u32::try_from(self.list.len()).expect("few states");
        self.list.push(packed);
        true
    }

    /// Where it is, or belongs.
    fn place(&self, packed: &Packed) -> usize {
        let mask = self.table.len() - 1;
        let mut place = hash(packed) as usize & mask;
        loop {
            let held = self.table[place];
            if held == Self::FREE || self.list[held as usize] == *packed {
                return place;
            }
            place = (place + 1) & mask;
        }
    }

    fn grow(&mut self) {
        self.table = vec![Self::FREE; self.table.len() * 2];
        for index in 0..self.list.len() {
            let place = self.place(&self.list[index]);
            self.table[place] = u32::try_from(index).expect("few states");
        }
    }
}

fn hash(packed: &Packed) -> u64 {
    let mut hash = 0x9e37_79b9_7f4a_7c15_u64;
    for word in packed {
        hash = (hash ^ word).wrapping_mul(0xff51_afd7_ed55_8ccd);
        hash ^= hash >> 32;
    }
    hash
}
