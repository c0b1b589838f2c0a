//! The search: breadth first, over every state that can be reached, each kept whole and visited once.

use crate::oracle::Oracle;
use crate::packing::States;
use crate::properties::Violation;
use crate::scene::{Scene, Stage};
use crate::world::World;
use quorate::api::Outcome;
use std::collections::{BTreeSet, HashSet};
use std::fmt::Write;
use std::time::{Duration, Instant};

/// What a search came to, when nothing was broken.
pub struct Found {
    /// How many different states there are.
    pub states: usize,
    /// How many actions lead from one to another.
    pub actions: usize,
    /// The longest of all shortest ways to a state.
    pub depth: usize,
    /// How many different questions the engine was asked.
    pub questions: usize,
    /// How many different statuses that gave.
    pub statuses: usize,
    /// The outcomes that came up.
    pub outcomes: Vec<Outcome>,
    /// What else did.
    pub occurred: BTreeSet<&'static str>,
    /// How long it took.
    pub took: Duration,
}

/// A broken guarantee, and the shortest way to break it.
#[derive(Debug)]
pub struct Broken {
    /// Which, and how.
    pub violation: Violation,
    /// What happened, one action a line.
    pub story: String,
}

/// Visits every state of a scene.
pub fn search(scene: Scene) -> Result<Found, Broken> {
    let started = Instant::now();
    let shell = scene.shell;
    let mut search = Search {
        oracle: Oracle::new(Stage::new(scene)),
        states: States::new(),
        parents: Vec::new(),
        settling: HashSet::new(),
        outcomes: Vec::new(),
    };
    search.reach(&World::start(shell), 0);
    let mut actions = Vec::new();
    let mut taken = 0;
    let mut depth = 0;
    let mut level_ends = 1;
    let mut position = 0;
    while position < search.states.list.len() {
        if position == level_ends {
            depth += 1;
            level_ends = search.states.list.len();
        }
        let world = World::unpack(search.states.list[position]);
        if let Err(violation) = search.settles(world) {
            return Err(Broken { violation, story: search.story(position, false) });
        }
        world.actions(&search.oracle, &mut actions);
        for action in &actions {
            match world.after(*action, &mut search.oracle) {
                Ok(None) => {}
                Ok(Some(next)) => {
                    taken += 1;
                    search.reach(&next, position);
                }
                Err(violation) => {
                    return Err(Broken { violation, story: search.story(position, true) });
                }
            }
        }
        position += 1;
    }
    Ok(Found {
        states: search.states.list.len(),
        actions: taken,
        depth,
        questions: search.oracle.question_count(),
        statuses: search.oracle.status_count(),
        outcomes: search.outcomes,
        occurred: search.oracle.occurred().collect(),
        took: started.elapsed(),
    })
}

struct Search {
    oracle: Oracle,
    states: States,
    /// From which state each was reached first.
    parents: Vec<u32>,
    /// What servers may hold, so that one operator alone brings it to rest.
    settling: HashSet<u64>,
    outcomes: Vec<Outcome>,
}

impl Search {
    fn reach(&mut self, world: &World, parent: usize) {
        if self.states.insert(world.pack()) {
            self.parents.push(u32::try_from(parent).expect("few states"));
            if let Some(outcome) = self.oracle.outcome_of(world.status)
                && !self.outcomes.contains(&outcome)
            {
                self.outcomes.push(outcome);
            }
        }
    }

    /// G9: one operator alone brings it to rest, and then nothing is left undone.
    fn settles(&mut self, world: World) -> Result<(), Violation> {
        let mut world = world;
        let mut passed = vec![world.server()];
        // Where others have come to rest from, this one does.
        while self.settling.insert(world.server()) {
            let Some(next) = world.undisturbed(&mut self.oracle)? else {
                return world.settled(&self.oracle);
            };
            if passed.contains(&next.server()) {
                return Err("G9: one operator alone goes round and round".to_owned());
            }
            passed.push(next.server());
            world = next;
        }
        Ok(())
    }

    /// How a state is reached, and what happened then. Which replica is which is forgotten as states are packed; here the way is
    /// gone once more, with each keeping its number.
    fn story(&mut self, state: usize, breaks: bool) -> String {
        let mut path = Vec::new();
        let mut state = state;
        while state != 0 {
            path.push(self.states.list[state]);
            state = self.parents[state] as usize;
        }
        let mut world = World::start(self.oracle.stage.scene.shell);
        let mut told = Vec::new();
        let mut actions = Vec::new();
        for packed in path.into_iter().rev() {
            world.actions(&self.oracle, &mut actions);
            for action in &actions {
                if let Ok(Some(next)) = world.after(*action, &mut self.oracle)
                    && next.pack() == packed
                {
                    told.push(action.to_string());
                    world = next;
                    break;
                }
            }
        }
        if breaks {
            world.actions(&self.oracle, &mut actions);
            let breaking = actions.iter().find(|action| world.after(**action, &mut self.oracle).is_err());
            told.extend(breaking.map(|action| format!("{action}: broken")));
        } else {
            told.push("one operator alone, which lists everything anew: broken".to_owned());
        }
        let scene = &self.oracle.stage.scene;
        let mut story = format!("scene: {}\n{}\n", scene.name, scene.definition.trim_end());
        for (number, letter) in scene.letters.iter().enumerate() {
            // Writing into a String cannot fail.
            let _ = writeln!(story, "letter {number}: {letter:?}");
        }
        for (number, action) in told.iter().enumerate() {
            let _ = writeln!(story, "{:>3}. {action}", number + 1);
        }
        let status = &self.oracle.known(world.status).status;
        let _ = writeln!(story, "{}", serde_json::to_string(&(&status.steps, &status.decisions)).unwrap_or_default());
        story
    }
}
