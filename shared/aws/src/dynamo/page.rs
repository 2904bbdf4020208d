//! Walking an index partition page by page.
//!
//! A cursor is the sort key of the last item looked at, preceded by a digest of the walk it belongs to. It carries no
//! authority: the walk is rebuilt from the caller's own tenant and filter, and a cursor of another walk is refused.

use super::item::{Item, text};
use super::keys::Key;
use super::{Store, corrupt, failed, keys};
use aws_sdk_dynamodb::operation::query::builders::QueryInputBuilder;
use aws_sdk_dynamodb::operation::query::{Query, QueryInput};
use aws_sdk_dynamodb::types::{AttributeValue, Select};
use sluice_core::canonical::sha256_hex;
use sluice_core::ports::{Page, StoreResult};

/// Queries behind one page of a filtered list, at most, and items that each looks at.
const FILTERED_QUERIES: u32 = 4;
const FILTERED_ITEMS: i32 = 200;
/// Hex digits of a walk's digest.
const DIGEST_CHARS: usize = 16;

/// One way through a partition.
#[derive(Clone, Debug)]
pub(super) struct Walk {
    pub operation: &'static str,
    /// `None` walks the table itself, strongly consistent.
    pub index: Option<&'static str>,
    /// Name and value of the partition key.
    pub partition: (&'static str, String),
    /// Name of the sort key.
    pub sort: &'static str,
    pub range: Range,
    /// All of these must hold.
    pub filters: Vec<Filter>,
    /// The attributes to read; empty for all.
    pub only: &'static [&'static str],
    pub ascending: bool,
}

#[derive(Clone, Debug)]
pub(super) enum Range {
    All,
    Prefix(&'static str),
    /// Both inclusive.
    Between(String, String),
    From(String),
    After(String),
    Below(String),
}

/// What an attribute of an item must be. Items without it are passed over.
#[derive(Clone, Debug)]
pub(super) struct Filter {
    /// The attribute's name, or the names on the way into a map.
    pub path: Vec<String>,
    pub any_of: Vec<String>,
}

impl Filter {
    pub fn new(attribute: &str, value: impl Into<String>) -> Self {
        Self { path: vec![attribute.to_owned()], any_of: vec![value.into()] }
    }
}

impl Walk {
    /// Every item of a run whose sort key starts with `prefix`, in order.
    pub fn under(operation: &'static str, pk: String, prefix: &'static str) -> Self {
        Self {
            operation,
            index: None,
            partition: (keys::PK, pk),
            sort: keys::SK,
            range: Range::Prefix(prefix),
            filters: Vec::new(),
            only: &[],
            ascending: true,
        }
    }

    /// Every item of an index partition, in order.
    pub fn of_index(
        operation: &'static str,
        index: &'static str,
        partition: (&'static str, String),
        sort: &'static str,
    ) -> Self {
        Self {
            operation,
            index: Some(index),
            partition,
            sort,
            range: Range::All,
            filters: Vec::new(),
            only: &[],
            ascending: true,
        }
    }

    fn digest(&self) -> String {
        let range = format!("{:?}", self.range);
        let filters = if self.filters.is_empty() { String::new() } else { format!("{:?}", self.filters) };
        let direction = if self.ascending { "ascending" } else { "descending" };
        let index = self.index.unwrap_or_default();
        let mut digest = sha256_hex(&[index, self.partition.0, &self.partition.1, &range, &filters, "", direction]);
        digest.truncate(DIGEST_CHARS);
        digest
    }

    fn cursor(&self, last: &Item) -> Option<String> {
        text(last, self.sort).map(|position| format!("{}.{position}", self.digest()))
    }

    /// Where to go on, from a cursor of this walk. `key` finds the table key of the item with a sort key.
    fn start(&self, cursor: &str, key: impl Fn(&str) -> Option<Key>) -> StoreResult<Item> {
        let position = cursor.strip_prefix(&self.digest()).and_then(|rest| rest.strip_prefix('.'));
        let position = position.ok_or_else(|| corrupt(self.operation, "the cursor belongs to another list"))?;
        let key = key(position).ok_or_else(|| corrupt(self.operation, "the cursor names no item"))?;
        let mut start = key.into_item();
        start.insert(self.partition.0.to_owned(), AttributeValue::S(self.partition.1.clone()));
        start.insert(self.sort.to_owned(), AttributeValue::S(position.to_owned()));
        Ok(start)
    }
}

impl Store {
    /// A page of what `walk` finds, read by `read`.
    pub(super) async fn page<T, E>(
        &self,
        walk: &Walk,
        limit: u32,
        cursor: Option<&str>,
        key: impl Fn(&str) -> Option<Key>,
        read: impl Fn(Item) -> Result<T, E>,
    ) -> StoreResult<Page<T>>
    where
        E: std::error::Error + Send + Sync + 'static,
    {
        let most = usize::try_from(limit.max(1)).unwrap_or(usize::MAX);
        let mut start = cursor.map(|cursor| walk.start(cursor, key)).transpose()?;
        let mut items = Vec::new();
        for _ in 0..FILTERED_QUERIES {
            let wanted = i32::try_from(most - items.len()).unwrap_or(i32::MAX);
            let looked_at = if !walk.filters.is_empty() { wanted.max(FILTERED_ITEMS) } else { wanted };
            let (found, last) = self.query(walk, Some(looked_at), start.take()).await?;
            let mut found = found.into_iter().peekable();
            while let Some(item) = found.next() {
                let is_full = items.len() + 1 == most && found.peek().is_some();
                let next = if is_full { walk.cursor(&item) } else { None };
                items.push(read(item).map_err(|error| corrupt(walk.operation, error))?);
                if is_full {
                    return Ok(Page { items, next });
                }
            }
            start = last;
            if start.is_none() || items.len() == most {
                break;
            }
        }
        Ok(Page { items, next: start.as_ref().and_then(|last| walk.cursor(last)) })
    }

    /// Everything that `walk` finds.
    pub(super) async fn all(&self, walk: &Walk) -> StoreResult<Vec<Item>> {
        let mut items = Vec::new();
        let mut start = None;
        loop {
            let (found, last) = self.query(walk, None, start).await?;
            items.extend(found);
            if last.is_none() {
                return Ok(items);
            }
            start = last;
        }
    }

    /// What `walk` finds first, at most `most`.
    pub(super) async fn first(&self, walk: &Walk, most: u32) -> StoreResult<Vec<Item>> {
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let mut items = Vec::new();
        let mut start = None;
        while items.len() < most {
            let wanted = i32::try_from(most - items.len()).unwrap_or(i32::MAX);
            let (found, last) = self.query(walk, Some(wanted), start).await?;
            items.extend(found);
            start = last;
            if start.is_none() {
                break;
            }
        }
        Ok(items)
    }

    /// How many items `walk` finds.
    pub(super) async fn count(&self, walk: &Walk) -> StoreResult<u32> {
        let (mut count, mut start) = (0, None);
        loop {
            let call = self.walking(walk).select(Select::Count).set_exclusive_start_key(start);
            let answer =
                self.dynamodb.call::<Query>(call.build()).await.map_err(|error| failed(walk.operation, &error))?;
            count += u32::try_from(answer.count).map_err(|error| corrupt(walk.operation, error))?;
            start = answer.last_evaluated_key;
            if start.is_none() {
                return Ok(count);
            }
        }
    }

    /// One `Query`: what it found, and the key it stopped at if there may be more.
    pub(super) async fn query(
        &self,
        walk: &Walk,
        limit: Option<i32>,
        start: Option<Item>,
    ) -> StoreResult<(Vec<Item>, Option<Item>)> {
        let call = self.walking(walk).set_limit(limit).set_exclusive_start_key(start);
        let answer = self.dynamodb.call::<Query>(call.build()).await.map_err(|error| failed(walk.operation, &error))?;
        Ok((answer.items.unwrap_or_default(), answer.last_evaluated_key))
    }

    /// The `Query` that walks so.
    fn walking(&self, walk: &Walk) -> QueryInputBuilder {
        let value = |text: &str| AttributeValue::S(text.to_owned());
        let mut call = QueryInput::builder()
            .table_name(&*self.table)
            .set_index_name(walk.index.map(str::to_owned))
            .consistent_read(walk.index.is_none())
            .scan_index_forward(walk.ascending)
            .expression_attribute_names("#partition", walk.partition.0)
            .expression_attribute_values(":partition", value(&walk.partition.1));
        let (condition, bounds) = match &walk.range {
            Range::All => ("", None),
            Range::Prefix(prefix) => (" AND begins_with(#sort, :from)", Some((*prefix, None))),
            Range::Between(from, to) => (" AND #sort BETWEEN :from AND :to", Some((from.as_str(), Some(to)))),
            Range::From(from) => (" AND #sort >= :from", Some((from.as_str(), None))),
            Range::After(after) => (" AND #sort > :from", Some((after.as_str(), None))),
            Range::Below(below) => (" AND #sort < :from", Some((below.as_str(), None))),
        };
        if let Some((from, to)) = bounds {
            call =
                call.expression_attribute_names("#sort", walk.sort).expression_attribute_values(":from", value(from));
            if let Some(to) = to {
                call = call.expression_attribute_values(":to", value(to));
            }
        }
        let mut conditions = Vec::with_capacity(walk.filters.len());
        for (index, filter) in walk.filters.iter().enumerate() {
            let names: Vec<String> = (0..filter.path.len()).map(|at| format!("#f{index}_{at}")).collect();
            let values: Vec<String> = (0..filter.any_of.len()).map(|at| format!(":f{index}_{at}")).collect();
            conditions.push(format!("{} IN ({})", names.join("."), values.join(", ")));
            for (placeholder, name) in names.into_iter().zip(&filter.path) {
                call = call.expression_attribute_names(placeholder, name);
            }
            for (placeholder, wanted) in values.into_iter().zip(&filter.any_of) {
                call = call.expression_attribute_values(placeholder, value(wanted));
            }
        }
        if !conditions.is_empty() {
            call = call.filter_expression(conditions.join(" AND "));
        }
        if !walk.only.is_empty() {
            let placeholders: Vec<String> = (0..walk.only.len()).map(|index| format!("#p{index}")).collect();
            call = call.projection_expression(placeholders.join(", "));
            for (placeholder, name) in placeholders.into_iter().zip(walk.only) {
                call = call.expression_attribute_names(placeholder, *name);
            }
        }
        call.key_condition_expression(format!("#partition = :partition{condition}"))
    }
}
