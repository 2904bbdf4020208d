//! What a function asked of others, and how much of it one thing after the other.

use std::time::Duration;

/// One call as the backend saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// As AWS names it, such as `BatchGetItem`.
    pub name: String,
    /// Since the same moment for all calls.
    pub began: Duration,
    pub ended: Duration,
}

/// The calls of each round trip: what began before something of the same round trip had ended went out side by side with it.
pub fn round_trips(calls: &[Call]) -> Vec<Vec<&str>> {
    let mut sorted: Vec<&Call> = calls.iter().collect();
    sorted.sort_by_key(|call| (call.began, call.ended));
    let mut trips: Vec<(Duration, Vec<&str>)> = Vec::new();
    for call in sorted {
        match trips.last_mut() {
            Some((ended, names)) if call.began < *ended => {
                names.push(&call.name);
                *ended = (*ended).max(call.ended);
            }
            Some(_) | None => trips.push((call.ended, vec![&call.name])),
        }
    }
    trips.into_iter().map(|(_, names)| names).collect()
}

/// Round trips for people: `BatchGetItem (2 times), TransactWriteItems, StartExecution + UpdateItem, 8 Query`, of which the last
/// is one round trip with eight calls side by side.
pub fn named(trips: &[Vec<&str>]) -> String {
    let trips = trips.iter().map(|names| {
        let mut sorted = names.clone();
        sorted.sort_unstable();
        let counted = counted(sorted.into_iter().map(str::to_owned)).into_iter();
        let calls: Vec<String> =
            counted.map(|(name, count)| if count == 1 { name } else { format!("{count} {name}") }).collect();
        calls.join(" + ")
    });
    let trips = counted(trips).into_iter();
    let trips: Vec<String> =
        trips.map(|(trip, count)| if count == 1 { trip } else { format!("{trip} ({count} times)") }).collect();
    trips.join(", ")
}

/// Those that follow each other and are alike become one with its number.
fn counted(names: impl Iterator<Item = String>) -> Vec<(String, usize)> {
    let mut counts: Vec<(String, usize)> = Vec::new();
    for name in names {
        match counts.last_mut() {
            Some((last, count)) if *last == name => *count += 1,
            Some(_) | None => counts.push((name, 1)),
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calls(calls: &[(&str, u64, u64)]) -> Vec<Call> {
        let millis = Duration::from_millis;
        let call = |(name, began, ended): &(&str, u64, u64)| Call {
            name: (*name).to_owned(),
            began: millis(*began),
            ended: millis(*ended),
        };
        calls.iter().map(call).collect()
    }

    #[test]
    fn a_round_trip_begins_when_all_before_it_has_ended() {
        type Case<'a> = (&'a [(&'a str, u64, u64)], usize, &'a str);
        let cases: [Case<'_>; 8] = [
            (&[], 0, ""),
            (&[("Get", 0, 5)], 1, "Get"),
            (&[("Get", 0, 5), ("Write", 5, 10), ("Start", 11, 16)], 3, "Get, Write, Start"),
            (&[("Get", 0, 5), ("Start", 6, 12), ("Count", 7, 12)], 2, "Get, Count + Start"),
            (&[("Get", 0, 5), ("Get", 6, 11), ("Write", 12, 17)], 3, "Get (2 times), Write"),
            // A long call spans two short ones: the three are waited for together.
            (&[("Long", 0, 20), ("Get", 1, 6), ("Get", 7, 12), ("Write", 20, 25)], 2, "2 Get + Long, Write"),
            (&[("Get", 0, 5), ("Get", 1, 6), ("Get", 7, 12), ("Get", 8, 13)], 2, "2 Get (2 times)"),
            // Noted in another order than they began.
            (&[("Write", 6, 11), ("Get", 0, 5)], 2, "Get, Write"),
        ];
        for (given, expected, text) in cases {
            let given = calls(given);
            let trips = round_trips(&given);
            assert_eq!(trips.len(), expected, "{given:?}");
            assert_eq!(named(&trips), text);
        }
    }
}
