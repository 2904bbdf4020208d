//! Where the services of a region are.

/// The domains of the partitions, by what the names of their regions begin with; all others are in `amazonaws.com`.
/// Source: <https://docs.aws.amazon.com/whitepapers/latest/aws-fault-isolation-boundaries/partitions.html>
const DOMAINS: [(&str, &str); 6] = [
    ("cn-", "amazonaws.com.cn"),
    ("us-iso-", "c2s.ic.gov"),
    ("us-isob-", "sc2s.sgov.gov"),
    ("eu-isoe-", "cloud.adc-e.uk"),
    ("us-isof-", "csp.hci.ic.gov"),
    ("eusc-", "amazonaws.eu"),
];

/// The address of a service, by the name that it has in its addresses.
pub(crate) fn of_region(service: &str, region: &str) -> String {
    let own = DOMAINS.iter().find(|(prefix, _)| region.starts_with(prefix));
    let domain = own.map_or("amazonaws.com", |(_, domain)| domain);
    format!("https://{service}.{region}.{domain}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One region of every partition at least.
    const REGIONS: [&str; 12] = [
        "us-east-1",
        "eu-west-1",
        "ap-southeast-5",
        "mx-central-1",
        "us-gov-west-1",
        "cn-north-1",
        "cn-northwest-1",
        "us-iso-east-1",
        "us-isob-east-1",
        "eu-isoe-west-1",
        "us-isof-south-1",
        "eusc-de-east-1",
    ];

    macro_rules! by_the_sdk {
        ($sdk:ident, $region:expr) => {{
            use $sdk::config::endpoint::{DefaultResolver, Params, ResolveEndpoint};
            let params = Params::builder().region($region).build().expect("parameters");
            let endpoint = DefaultResolver::new().resolve_endpoint(&params).await.expect("an endpoint");
            endpoint.url().to_owned()
        }};
    }

    #[tokio::test]
    async fn services_are_where_their_sdks_find_them() {
        for region in REGIONS {
            assert_eq!(of_region("dynamodb", region), by_the_sdk!(aws_sdk_dynamodb, region), "{region}");
            assert_eq!(of_region("events", region), by_the_sdk!(aws_sdk_eventbridge, region), "{region}");
            assert_eq!(of_region("states", region), by_the_sdk!(aws_sdk_sfn, region), "{region}");
        }
    }
}
