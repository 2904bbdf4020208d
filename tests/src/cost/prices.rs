//! What AWS asks for, in us-east-1.

/// A price.
#[derive(Clone, Copy, Debug)]
pub struct Price {
    pub what: &'static str,
    /// USD for a million of them.
    pub usd_per_million: f64,
    /// Where AWS says so.
    pub page: &'static str,
    /// What is known of it beside that page.
    pub note: &'static str,
}

const STEP_FUNCTIONS: &str = "https://aws.amazon.com/step-functions/pricing/";
const LAMBDA: &str = "https://aws.amazon.com/lambda/pricing/";
const DYNAMODB: &str = "https://aws.amazon.com/dynamodb/pricing/on-demand/";
const EVENTBRIDGE: &str = "https://aws.amazon.com/eventbridge/pricing/";
const SQS: &str = "https://aws.amazon.com/sqs/pricing/";
const CLOUDWATCH: &str = "https://aws.amazon.com/cloudwatch/pricing/";
const API_GATEWAY: &str = "https://aws.amazon.com/api-gateway/pricing/";

/// Read on AWS' own page, in a stored copy.
const READ: &str = "read there";
/// AWS' page was at hand without its table.
const TOLD: &str = "not read there: by guides of 2026";
/// Known from before, and found nowhere this time.
const KNOWN: &str = "not read there: as it was known before";

const fn price(what: &'static str, usd_per_million: f64, page: &'static str, note: &'static str) -> Price {
    Price { what, usd_per_million, page, note }
}

pub const TRANSITION: Price = price("state transition (Standard)", 25.0, STEP_FUNCTIONS, READ);
pub const INVOCATION: Price = price("invocation of a function", 0.20, LAMBDA, TOLD);
pub const GB_SECOND: Price = price("GB-second of a function (arm64)", 13.333_4, LAMBDA, TOLD);
pub const WRITE_UNIT: Price = price("write request unit (on demand)", 0.625, DYNAMODB, TOLD);
pub const READ_UNIT: Price = price("read request unit (on demand)", 0.125, DYNAMODB, TOLD);
pub const EVENT: Price = price("event of Sluice's own (AWS' are free)", 1.0, EVENTBRIDGE, TOLD);
pub const SCHEDULED: Price = price("invocation by the scheduler (14 million a month are free)", 1.0, EVENTBRIDGE, TOLD);
pub const MESSAGE: Price = price("request to a queue (a million a month is free)", 0.40, SQS, KNOWN);
pub const HTTP_REQUEST: Price = price("request to the HTTP API (none for Function URLs)", 1.0, API_GATEWAY, KNOWN);
/// 0.50 USD a GB.
pub const LOG_KILOBYTE: Price = price("KB of logs, taken in", 0.5, CLOUDWATCH, TOLD);
pub const PUT_METRIC: Price = price("`PutMetricData` (Sluice makes none)", 10.0, CLOUDWATCH, KNOWN);

/// All of them.
pub const ALL: [Price; 11] = [
    TRANSITION,
    INVOCATION,
    GB_SECOND,
    WRITE_UNIT,
    READ_UNIT,
    EVENT,
    SCHEDULED,
    MESSAGE,
    HTTP_REQUEST,
    LOG_KILOBYTE,
    PUT_METRIC,
];

/// A month of an alarm, and of the dashboard, USD. Source: CloudWatch's page; known from before.
pub const ALARM_MONTH: f64 = 0.10;
pub const DASHBOARD_MONTH: f64 = 3.00;

impl Price {
    /// What so many of them cost, USD.
    pub fn of(&self, count: f64) -> f64 {
        count * self.usd_per_million / 1_000_000.0
    }
}
