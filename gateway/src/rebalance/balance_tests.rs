//! Clusters that are simulated whole: every node looks in its turn, sees the others' load of the last turn, and whoever is
//! told comes back in the next.

use proptest::prelude::*;

use super::*;

const NEWS: Duration = Duration::from_secs(20);

/// From one look to the next.
const LOOK: Duration = Duration::from_secs(10);

const BOUNDS: Bounds = Bounds {
    absolute: 10,
    relative: 0.1,
    round: 300,
};

fn info(name: usize, connections: u64, beat: u64) -> NodeInfo {
    NodeInfo {
        node: NodeId::new(&format!("node-{name}")),
        epoch: Epoch(1),
        address: String::new(),
        connections,
        synced: true,
        beat,
        leaving: false,
        door: None,
    }
}

/// Where a client goes that was told to come back.
#[derive(Clone, Copy, Debug)]
enum Landing {
    /// To any node.
    Random,
    /// To the node with the fewest.
    LeastLoaded,
    /// To the node it came from.
    Sticky,
}

struct World {
    balances: Vec<Balance>,
    loads: Vec<u64>,
    /// What leases say: the loads of the last turn.
    leases: Vec<u64>,
    now: Instant,
    turn: u64,
    /// A linear congruential generator: the test draws the seed.
    chance: u64,
    moves: u64,
}

impl World {
    fn new(loads: Vec<u64>, seed: u64) -> Self {
        Self {
            balances: loads.iter().map(|_| Balance::new(NEWS)).collect(),
            leases: loads.clone(),
            loads,
            now: Instant::now(),
            turn: 0,
            chance: seed,
            moves: 0,
        }
    }

    fn random(&mut self, below: usize) -> usize {
        self.chance = self
            .chance
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.chance >> 33).unwrap() % below
    }

    /// One look of each node; how many sessions were told.
    fn turn(&mut self, bounds: &Bounds, landing: Landing) -> u64 {
        self.turn += 1;
        self.now += LOOK;
        let mut told = Vec::new();
        for (me, balance) in self.balances.iter_mut().enumerate() {
            let others = self
                .leases
                .iter()
                .enumerate()
                .filter(|(name, _)| *name != me);
            let peers: Vec<_> = others
                .map(|(name, load)| info(name, *load, self.turn))
                .collect();
            let sight = Sight {
                standing: Standing::Member,
                connections: self.loads[me],
                peers: &peers,
            };
            if let Verdict::Shed(count) = balance.look(&sight, bounds, self.now) {
                assert!(count <= bounds.round.min(self.loads[me]), "{count}");
                balance.moved((self.loads[me], count), self.now);
                told.push((me, count));
            }
        }
        self.leases.clone_from(&self.loads);
        for (from, count) in &told {
            self.loads[*from] -= count;
        }
        for (from, count) in &told {
            for _ in 0..*count {
                let to = match landing {
                    Landing::Random => self.random(self.loads.len()),
                    Landing::LeastLoaded => {
                        let loads = self.loads.iter().enumerate();
                        loads.min_by_key(|(_, load)| **load).unwrap().0
                    }
                    Landing::Sticky => *from,
                };
                self.loads[to] += 1;
            }
        }
        let told = told.iter().map(|(_, count)| count).sum();
        self.moves += told;
        told
    }

    fn mean(&self) -> u64 {
        self.loads.iter().sum::<u64>() / self.loads.len() as u64
    }

    fn is_within(&self, bounds: &Bounds) -> bool {
        let most = self.mean() + allowed(self.mean(), bounds);
        self.loads.iter().all(|load| *load <= most)
    }

    /// What lies above the mean.
    fn surplus(&self) -> u64 {
        let above = |load: &u64| load.saturating_sub(self.mean());
        self.loads.iter().map(above).sum()
    }
}

fn landings() -> impl Strategy<Value = Landing> {
    prop_oneof![Just(Landing::Random), Just(Landing::LeastLoaded)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn any_spread_comes_within_bounds_by_few_moves_and_then_nothing_moves(
        loads in proptest::collection::vec(0_u64..1500, 2..8),
        (absolute, relative) in (1_u64..200, 0.0..0.3),
        landing in landings(),
        seed in any::<u64>(),
    ) {
        let bounds = Bounds { absolute, relative, round: 600 };
        let mut world = World::new(loads, seed);
        let surplus = world.surplus();
        let mut quiet = 0;
        for _ in 0..2_000 {
            quiet = if world.turn(&bounds, landing) == 0 { quiet + 1 } else { 0 };
            if quiet >= 100 {
                break;
            }
        }
        prop_assert!(quiet >= 100, "still moving: {:?}", world.loads);
        prop_assert!(world.is_within(&bounds), "{:?}", world.loads);
        // At random each move fills what is missing with the chance that it does not come back to whoever has enough.
        let nodes = world.loads.len() as u64;
        let slack = 40 * nodes * world.mean().isqrt().max(1);
        prop_assert!(world.moves <= nodes * surplus + slack, "{} moves for {surplus}", world.moves);
    }

    #[test]
    fn sessions_that_always_come_back_are_left_alone_ever_longer(
        loads in proptest::collection::vec(0_u64..1500, 2..8),
        seed in any::<u64>(),
    ) {
        let mut world = World::new(loads, seed);
        let rounds = (0..1_500).filter(|_| world.turn(&BOUNDS, Landing::Sticky) > 0).count();
        // 1500 looks are four hours: without the pauses there would be a round every minute and a half.
        prop_assert!(rounds <= 15 * world.loads.len(), "{rounds} rounds");
    }
}

struct One {
    balance: Balance,
    now: Instant,
    beat: u64,
}

impl One {
    fn new() -> Self {
        Self {
            balance: Balance::new(NEWS),
            now: Instant::now(),
            beat: 0,
        }
    }

    /// Looks after a while at two peers of these loads.
    fn look(&mut self, connections: u64, mut change: impl FnMut(&mut NodeInfo)) -> Verdict {
        self.now += LOOK;
        self.beat += 1;
        let mut peers = [info(1, 100, self.beat), info(2, 0, self.beat)];
        peers.iter_mut().for_each(&mut change);
        let sight = Sight {
            standing: Standing::Member,
            connections,
            peers: &peers,
        };
        self.balance.look(&sight, &BOUNDS, self.now)
    }

    /// What it says in the end, when all stays so.
    fn settled(&mut self, connections: u64, mut change: impl FnMut(&mut NodeInfo)) -> Verdict {
        let looks = (0..20).map(|_| self.look(connections, &mut change));
        let sheds = |verdict: &Verdict| matches!(verdict, Verdict::Shed(_));
        let looks: Vec<_> = looks.collect();
        let first = looks.iter().copied().find(sheds);
        first.unwrap_or(looks[looks.len() - 1])
    }
}

#[test]
fn a_surplus_is_given_away_down_to_half_of_the_bound() {
    // The mean is 100, and 20 the least bound: twice its square root.
    assert_eq!(One::new().settled(200, |_| ()), Verdict::Shed(90));
    assert_eq!(One::new().settled(70, |_| ()), Verdict::Rest(Rest::Within));
}

#[test]
fn a_surplus_has_to_last_before_anything_moves() {
    let mut one = One::new();
    assert_eq!(one.look(200, |_| ()), Verdict::Rest(Rest::Change));
    while one.look(0, |_| ()) != Verdict::Rest(Rest::Within) || one.beat < 10 {}
    assert_eq!(one.look(200, |_| ()), Verdict::Rest(Rest::Confirming));
    assert_eq!(one.look(0, |_| ()), Verdict::Rest(Rest::Within));
    assert_eq!(one.look(200, |_| ()), Verdict::Rest(Rest::Confirming));
    assert_eq!(one.look(200, |_| ()), Verdict::Rest(Rest::Confirming));
    assert!(matches!(one.look(200, |_| ()), Verdict::Shed(_)));
}

#[test]
fn nothing_moves_while_a_node_leaves_begins_or_is_of_a_release_that_does_not_count() {
    let rest = Verdict::Rest(Rest::Change);
    assert_eq!(One::new().settled(200, |info| info.leaving = true), rest);
    assert_eq!(One::new().settled(200, |info| info.synced = false), rest);
    assert_eq!(One::new().settled(200, |info| info.beat = 0), rest);
    let mut epoch = 0;
    let again = |info: &mut NodeInfo| {
        epoch += 1;
        info.epoch = Epoch(epoch);
    };
    assert_eq!(One::new().settled(200, again), rest);
}

#[test]
fn nothing_moves_by_numbers_that_are_old() {
    let mut one = One::new();
    let stuck = |info: &mut NodeInfo| info.beat = 1;
    let verdicts: Vec<_> = (0..20).map(|_| one.look(120, stuck)).collect();
    assert_eq!(verdicts[19], Verdict::Rest(Rest::Stale));
    assert_eq!(one.look(200, stuck), Verdict::Rest(Rest::Stale));
}

#[test]
fn a_round_ends_when_a_node_comes_goes_or_begins_to_leave() {
    let mut one = One::new();
    assert!(matches!(one.settled(200, |_| ()), Verdict::Shed(_)));
    let peers = [info(1, 100, 1), info(2, 0, 1)];
    let goes_on = |standing, peers: &[NodeInfo]| {
        let sight = Sight {
            standing,
            connections: 200,
            peers,
        };
        one.balance.may_go_on(&sight)
    };
    assert!(goes_on(Standing::Member, &peers));
    for standing in [Standing::Off, Standing::Outside, Standing::Leaving] {
        assert!(!goes_on(standing, &peers), "{standing:?}");
    }
    assert!(!goes_on(Standing::Member, &peers[..1]));
    let [first, second] = peers;
    let leaving = NodeInfo {
        leaving: true,
        ..second
    };
    assert!(!goes_on(Standing::Member, &[first.clone(), leaving]));
    assert!(!goes_on(Standing::Member, &[first, info(3, 0, 1)]));
}

#[test]
fn a_node_alone_or_apart_moves_nothing() {
    let look = |standing| {
        let sight = Sight {
            standing,
            connections: 1000,
            peers: &[],
        };
        Balance::new(NEWS).look(&sight, &BOUNDS, Instant::now())
    };
    assert_eq!(look(Standing::Member), Verdict::Rest(Rest::Alone));
    assert_eq!(look(Standing::Off), Verdict::Rest(Rest::Apart));
}
