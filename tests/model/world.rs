//! The world: an API server, two operators with copies of what it holds, people, a clock. One state is three words.
//!
//! What an operator reads is as old as may be: each object that it watches reaches it by an action of its own, in any order, and
//! so may a signal that is judged already. A crash forgets a plan half carried out; what is listed anew afterwards is what the
//! actions of seeing bring.

use crate::oracle::{Deed, Object, Oracle, Question, StatusId};
use crate::properties::{Violation, hold};
use crate::replica::{Replica, STATUS, WRITE_BACK};
use crate::scene::Waiting;
use crate::shell::{Flaw, Shell, Turns};
use quorate::api::Outcome;
use std::fmt;

/// A state of everything.
#[derive(Clone, Copy)]
pub struct World {
    /// The status that the server has.
    pub status: StatusId,
    /// The second.
    pub now: u8,
    /// Which directory there is.
    pub directory: u8,
    /// The object that waits.
    pub object: Object,
    /// Four bits for each letter: two for its state, two for the second in which it was sent.
    pub letters: u32,
    /// The operators.
    pub replicas: [Replica; 2],
}

/// The last second to which the world is followed to see it come to rest.
const LAST_SECOND: u8 = 12;

/// What has become of a letter.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Post {
    Unsent,
    Unjudged,
    Counted,
    Refused,
}

/// What can happen.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Action {
    /// Somebody sends a letter; it arrives so many seconds after it was stamped.
    Send(usize, u8),
    /// A second passes.
    Tick,
    /// The directory becomes the next one.
    DirectoryChanges,
    /// The object vanishes, or somebody else decides it.
    ObjectGone,
    /// A replica's watch brings the instance.
    SeeInstance(usize),
    /// A replica's watch brings a signal, perhaps one that is judged already; or says that it is judged.
    SeeSignal(usize, usize),
    /// A replica's watch brings the directory.
    SeeDirectory(usize),
    /// A replica's watch brings the object.
    SeeObject(usize),
    /// A replica lists all signals, since a deadline that it knows is over.
    List(usize),
    /// A replica computes a plan, by a clock that is so many seconds behind.
    Compute(usize, u8),
    /// A replica carries out that part of its plan.
    CarryOut(usize, u16),
    /// The same for a verdict, but the answer is lost, and the rest of the plan with it.
    Unanswered(usize, u16),
    /// A replica forgets its plan: a crash, or an API server that does not answer.
    Crash(usize),
    /// A replica stops, perhaps in the middle of a plan, and the other takes over: it lists everything anew.
    HandOver(usize),
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CarryOut(replica, STATUS) => write!(f, "replica {replica} writes the status"),
            Self::CarryOut(replica, WRITE_BACK) => write!(f, "replica {replica} writes the outcome to the object"),
            Self::CarryOut(replica, verdict) => {
                write!(f, "replica {replica} writes the verdict of letter {}", verdict.trailing_zeros())
            }
            other => write!(f, "{other:?}"),
        }
    }
}

impl World {
    /// The instance has just been created, and nobody has seen it move.
    pub fn start(shell: Shell) -> Self {
        let replica = Replica { newest: true, object_seen: true, ..Replica::default() };
        let other = if shell.turns == Turns::Together { replica } else { Replica::STOPPED };
        Self { status: 0, now: 0, directory: 0, object: Object::Waiting, letters: 0, replicas: [replica, other] }
    }

    fn post(&self, letter: usize) -> Post {
        [Post::Unsent, Post::Unjudged, Post::Counted, Post::Refused][(self.letters >> (4 * letter)) as usize & 3]
    }

    fn set_post(&mut self, letter: usize, post: Post) {
        self.letters = self.letters & !(3 << (4 * letter)) | (post as u32) << (4 * letter);
    }

    fn posted(&self, wanted: Post) -> u8 {
        (0..8).fold(0, |mask, letter| if self.post(letter) == wanted { mask | 1 << letter } else { mask })
    }

    /// Everything that can happen now.
    pub fn actions(&self, oracle: &Oracle, actions: &mut Vec<Action>) {
        let scene = &oracle.stage.scene;
        actions.clear();
        for letter in 0..scene.letters.len() {
            if self.post(letter) == Post::Unsent {
                actions.extend((0..=scene.in_flight.min(self.now)).map(|late| Action::Send(letter, late)));
            }
        }
        if self.now + 1 < scene.seconds {
            actions.push(Action::Tick);
        }
        if usize::from(self.directory) + 1 < scene.directories.len() {
            actions.push(Action::DirectoryChanges);
        }
        if scene.object == Waiting::Contested && self.object == Object::Waiting {
            actions.push(Action::ObjectGone);
        }
        for number in 0..2 {
            self.actions_of(number, oracle, actions);
        }
    }

    fn actions_of(&self, number: usize, oracle: &Oracle, actions: &mut Vec<Action>) {
        let scene = &oracle.stage.scene;
        let replica = &self.replicas[number];
        if replica.stopped {
            return;
        }
        if scene.shell.turns == Turns::OneAtATime {
            actions.push(Action::HandOver(number));
        }
        if !replica.newest {
            actions.push(Action::SeeInstance(number));
        }
        for letter in 0..scene.letters.len() {
            let bit = 1 << letter;
            let brings = match self.post(letter) {
                Post::Unsent => false,
                Post::Unjudged => replica.seen & bit == 0,
                Post::Counted | Post::Refused => replica.gone & bit == 0,
            };
            if brings {
                actions.push(Action::SeeSignal(number, letter));
            }
        }
        if replica.directory != self.directory {
            actions.push(Action::SeeDirectory(number));
        }
        if !replica.object_seen {
            actions.push(Action::SeeObject(number));
        }
        if self.listing_due(replica, oracle) {
            actions.push(Action::List(number));
        }
        if replica.plan == 0 {
            actions.push(Action::Compute(number, 0));
            if scene.slow_clocks && self.now > 0 {
                actions.push(Action::Compute(number, 1));
            }
            return;
        }
        actions.push(Action::Crash(number));
        let next = replica.next(scene.shell);
        for bit in 0..10 {
            if next & (1 << bit) != 0 {
                actions.push(Action::CarryOut(number, 1 << bit));
                if scene.shell.answers_lost && 1 << bit < STATUS {
                    actions.push(Action::Unanswered(number, 1 << bit));
                }
            }
        }
    }

    /// Whether a replica would list all signals before it computes: a deadline that it knows is over.
    fn listing_due(&self, replica: &Replica, oracle: &Oracle) -> bool {
        let over = oracle.known(replica.status).deadline.is_some_and(|deadline| deadline < self.now);
        over && replica.listed != self.now
    }

    /// The state after an action; none when nothing comes of it.
    pub fn after(&self, action: Action, oracle: &mut Oracle) -> Result<Option<Self>, Violation> {
        let mut world = *self;
        match action {
            Action::Send(letter, late) => {
                world.letters |= (Post::Unjudged as u32 | u32::from(self.now - late) << 2) << (4 * letter);
            }
            Action::Tick => world.now += 1,
            Action::DirectoryChanges => world.directory += 1,
            Action::ObjectGone => world.object_becomes(Object::Gone),
            Action::SeeInstance(number) => {
                world.replicas[number].status = self.status;
                world.replicas[number].newest = true;
            }
            Action::SeeSignal(number, letter) => {
                let replica = &mut world.replicas[number];
                replica.seen ^= 1 << letter;
                if replica.seen & (1 << letter) == 0 {
                    replica.gone |= 1 << letter;
                }
            }
            Action::SeeDirectory(number) => world.replicas[number].directory = self.directory,
            Action::SeeObject(number) => world.replicas[number].object_seen = true,
            Action::List(number) => {
                let replica = &mut world.replicas[number];
                replica.listed = self.now;
                // What it says is judged is not taken up; what the watch says is left as it is.
                replica.seen |= self.posted(Post::Unjudged);
            }
            Action::Unanswered(number, part) => {
                let unaware = world.replicas[number];
                world.carry_out(number, part, oracle)?;
                world.replicas[number] = unaware;
                world.replicas[number].drop_plan();
            }
            Action::Compute(number, behind) => {
                let question = self.question(number, behind, oracle);
                let plan = oracle.ask(question)?;
                if plan == 0 {
                    return Ok(None);
                }
                world.replicas[number].take_up(plan, oracle.deed(plan));
            }
            Action::CarryOut(number, part) => world.carry_out(number, part, oracle)?,
            Action::Crash(number) => world.replicas[number].drop_plan(),
            Action::HandOver(number) => {
                world.replicas[number] = Replica::STOPPED;
                world.replicas[1 - number] = self.listed_anew();
            }
        }
        for replica in &mut world.replicas {
            // What was listed matters only while a deadline runs.
            if oracle.known(replica.status).deadline.is_none() {
                replica.listed = 0;
            }
        }
        world.consistent(oracle)?;
        Ok(Some(world))
    }

    fn question(&self, number: usize, behind: u8, oracle: &Oracle) -> Question {
        let replica = &self.replicas[number];
        Question {
            status: replica.status,
            seen: replica.seen,
            seconds: self.seconds(),
            directory: replica.directory,
            listed: if oracle.known(replica.status).deadline.is_some() { replica.listed } else { 0 },
            object: oracle.observed(replica.status, replica.object_seen, self.object),
            now: self.now - behind,
        }
    }

    /// Carries out one part of a plan, as far as the server lets it.
    fn carry_out(&mut self, number: usize, part: u16, oracle: &mut Oracle) -> Result<(), Violation> {
        let shell = oracle.stage.scene.shell;
        let deed = oracle.deed(self.replicas[number].plan);
        if part == STATUS {
            if !self.replicas[number].base_newest && shell.flaw != Some(Flaw::StaleStatusAccepted) {
                if shell.flaw == Some(Flaw::VerdictsFirst) {
                    self.replicas[number].done(part);
                } else {
                    self.replicas[number].drop_plan();
                }
                return Ok(());
            }
            self.write_status(number, deed, oracle)?;
        } else if part == WRITE_BACK {
            // It is read again first, and written with the resourceVersion that was read: nothing decided is decided anew.
            if self.object == Object::Waiting {
                self.object_becomes(if deed.write_back == 1 { Object::Approved } else { Object::Denied });
            }
        } else {
            self.write_verdict(number, part, deed, shell)?;
        }
        self.replicas[number].done(part);
        Ok(())
    }

    fn write_status(&mut self, number: usize, deed: Deed, oracle: &mut Oracle) -> Result<(), Violation> {
        oracle.may_follow(self.status, deed.status)?;
        self.nothing_overlooked(deed, oracle)?;
        self.status = deed.status;
        for replica in &mut self.replicas {
            replica.newest = false;
            replica.base_newest = false;
        }
        let writer = &mut self.replicas[number];
        writer.status = deed.status;
        writer.newest = true;
        Ok(())
    }

    /// G11: whoever decided in time is not told that time is over.
    fn nothing_overlooked(&self, deed: Deed, oracle: &Oracle) -> Result<(), Violation> {
        let (times, deadline) = oracle.known(deed.status).expired;
        if times > oracle.known(self.status).expired.0 {
            let in_time = |letter: &usize| self.seconds() >> (2 * letter) & 3 <= u16::from(deadline);
            let overlooked = (0..8).filter(in_time).fold(0, |mask, letter| mask | 1 << letter)
                & self.posted(Post::Unjudged)
                & !deed.verdicts;
            hold!(overlooked == 0, "G11: expired without a look at letters {overlooked:#b}, sent in time");
        }
        Ok(())
    }

    fn write_verdict(&mut self, number: usize, part: u16, deed: Deed, shell: Shell) -> Result<(), Violation> {
        let letter = part.trailing_zeros() as usize;
        let verdict = if deed.counted & (1 << letter) != 0 { Post::Counted } else { Post::Refused };
        let was = self.post(letter);
        if was == Post::Unjudged && shell.flaw != Some(Flaw::VerdictLost) {
            self.set_post(letter, verdict);
        } else if shell.flaw == Some(Flaw::SecondVerdictAccepted) {
            hold!(was == verdict, "G6: letter {letter} was {was:?} and becomes {verdict:?}");
        }
        self.replicas[number].seen &= !(1 << letter);
        self.replicas[number].gone |= 1 << letter;
        Ok(())
    }

    fn object_becomes(&mut self, object: Object) {
        self.object = object;
        for replica in &mut self.replicas {
            replica.object_seen = false;
        }
    }

    /// G6, G7, G8: what the server holds fits together.
    fn consistent(&self, oracle: &Oracle) -> Result<(), Violation> {
        let known = oracle.known(self.status);
        let unrecorded = self.posted(Post::Counted) & !known.recorded;
        hold!(unrecorded == 0, "G6: verdict Counted without a record: letters {unrecorded:#b}");
        let contradicted = self.posted(Post::Refused) & known.recorded;
        let promised = oracle.stage.scene.shell.promises_g7;
        hold!(
            !promised || contradicted == 0,
            "G7: recorded as counted, but refused by verdict: letters {contradicted:#b}"
        );
        let outcome = known.status.outcome;
        let ended = outcome.or(known.end);
        let gone = self.object == Object::Gone;
        let cancelled = outcome == Some(Outcome::Cancelled);
        let withdrawn = known.withdrawn;
        hold!(gone || withdrawn || !cancelled, "G8: cancelled, but its object is {:?}", self.object);
        match self.object {
            Object::Approved if known.executes => hold!(!cancelled, "G8: carried out, but is cancelled"),
            Object::Approved => hold!(ended == Some(Outcome::Approved), "G8: approved an object, but is {ended:?}"),
            Object::Denied => {
                let denied = matches!(ended, Some(Outcome::Rejected | Outcome::Expired));
                hold!(denied, "G8: denied an object, but is {ended:?}");
            }
            Object::Waiting if oracle.stage.scene.object != Waiting::None => {
                hold!(outcome.is_none() || withdrawn, "G8: ended {outcome:?}, but its object waits");
            }
            Object::Waiting | Object::Gone => {}
        }
        Ok(())
    }

    /// A replica that has just read everything.
    fn listed_anew(&self) -> Replica {
        Replica {
            status: self.status,
            newest: true,
            seen: self.posted(Post::Unjudged),
            gone: self.posted(Post::Counted) | self.posted(Post::Refused),
            directory: self.directory,
            object_seen: true,
            ..Replica::default()
        }
    }

    /// What one operator, undisturbed and with everything seen, makes of what the server holds: the next thing that the server
    /// holds, or none when there is nothing left to do.
    pub fn undisturbed(&self, oracle: &mut Oracle) -> Result<Option<Self>, Violation> {
        let mut world = *self;
        world.replicas = [Replica { listed: self.now, ..self.listed_anew() }, Replica::STOPPED];
        let Some(mut next) = world.after(Action::Compute(0, 0), oracle)? else {
            // Time passes, and what is due happens.
            let due = oracle.known(self.status).deadline.is_some() && self.now < LAST_SECOND;
            return Ok(due.then_some(Self { now: self.now + 1, ..*self }));
        };
        while next.replicas[0].plan != 0 {
            let part = next.replicas[0].next(oracle.stage.scene.shell);
            let lowest = part & part.wrapping_neg();
            let Some(after) = next.after(Action::CarryOut(0, lowest), oracle)? else { break };
            next = after;
        }
        Ok(Some(next))
    }

    /// G9: nothing is left to do, so everything must be done.
    pub fn settled(&self, oracle: &Oracle) -> Result<(), Violation> {
        let known = oracle.known(self.status);
        let unjudged = self.posted(Post::Unjudged);
        hold!(unjudged == 0, "G9: nothing is left to do, but letters {unjudged:#b} have no verdict");
        hold!(known.deadline.is_none(), "G9: its time never ends");
        let begun = known.status.started_at.is_some() || known.status.outcome.is_some();
        hold!(begun, "G9: nothing is left to do, but it has not started");
        hold!(
            known.end.is_none() || known.status.outcome.is_some(),
            "G9: nothing is left to do, but its path has ended and it has not"
        );
        Ok(())
    }
}
