//! The books against an arithmetic of the test's own.

use serde_json::json;

use crate::client::{Call, DOORS, bedrock};
use crate::operations::{CLAUDE, PROFILE, converse, served};

/// Billionths of a dollar for a million tokens: input, output, read, written for five minutes, for an hour.
const PRICES: [(&str, [u128; 5]); 2] = [
    (CLAUDE, [1_000_000_000, 5_000_000_000, 100_000_000, 1_250_000_000, 2_000_000_000]),
    (PROFILE, [1_100_000_000, 5_500_000_000, 110_000_000, 1_375_000_000, 2_200_000_000]),
];

#[tokio::test]
async fn the_sum_is_that_of_every_call_however_it_ended() {
    let bedrock = bedrock();
    let (mut femto, mut nano) = (0, 0);
    let plays = [
        "",
        "tokens=77",
        "abort after=4",
        "late-error=503",
        "error=429",
        "reset",
        "no-usage",
        "exception=throttlingException",
        "cache-read=40 cache-write=20 cache-write-1h=10 input=200",
        "cache-twice cache-write=9 input=50",
    ];
    for (index, play) in plays.into_iter().enumerate() {
        let (model, rates) = PRICES[index % 2];
        for operation in ["converse", "converse-stream"] {
            let body = converse(&format!("Number {index}. [[bedrock name=n{index} {play}]]"));
            let door = DOORS[index % DOORS.len()];
            if let Some(opened) = door.open(&bedrock, Call::new(format!("/model/{model}/{operation}"), &body)).await {
                opened.whole().await;
            }
            let used = served(&bedrock).await.used;
            let tokens = [used.input, used.output, used.cache_read, used.cache_write_5m, used.cache_write_1h];
            let cost: u128 = rates.iter().zip(tokens).map(|(rate, tokens)| rate * u128::from(tokens)).sum();
            assert_eq!(served(&bedrock).await.cost.0, cost, "{play}");
            femto += cost;
            nano += cost.div_ceil(1_000_000);
        }
    }
    let sum = bedrock.service().books.sum();
    assert_eq!((sum.calls, sum.cost.0, sum.settled_nano_usd), (20, femto, nano));
    assert!(femto > 0);
}

#[tokio::test]
async fn a_call_costs_the_prices_of_when_it_came() {
    let bedrock = bedrock();
    let table = |input: u64| {
        let rates = json!({"input": input, "output": 0});
        let model = json!({
            "ids": [CLAUDE], "contextTokens": 1_000, "maxOutputTokens": 100, "tiers": {"default": {"rates": rates}},
        });
        sluice_bedrock::prices::PriceTable::parse(&json!({"models": [model]}).to_string()).expect("a table")
    };
    let mut costs = Vec::new();
    for price in [1, 3] {
        bedrock.service().set_prices(table(price));
        let body = json!({"messages": [{"role": "user", "content": [{"text": "x"}]}]});
        DOORS[0].call(&bedrock, Call::new(format!("/model/{CLAUDE}/converse"), &body)).await;
        costs.push(served(&bedrock).await.cost.0);
    }
    assert!(costs[0] > 0);
    assert_eq!(costs[0] * 3, costs[1]);
    let sum = bedrock.service().books.sum();
    assert_eq!(sum.cost.0, costs[0] + costs[1]);
}
