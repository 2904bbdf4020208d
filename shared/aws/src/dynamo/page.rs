//! Walking an index partition page by page.
//!
//! A cursor is the sort key of the last item looked at, preceded by a digest of the walk it belongs to. It carries no
//! authority: the walk is rebuilt from the caller's own tenant and filter, and a cursor of another walk is refused.

use super::item::{Item, s, text};
use super::keys::Key;
use super::operation::{Names, Query, QueryInput, Select};
use super::{Store, corrupt, failed, keys};
use sluice_core::canonical::sha256_hex;
use sluice_core::ports::{Page, StoreResult};
use std::borrow::Cow;

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
        start.insert(self.partition.0.into(), s(&self.partition.1));
        start.insert(self.sort.into(), s(position));
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
            let query = QueryInput { select: Some(Select::Count), exclusive_start_key: start, ..self.walking(walk) };
            let answer = self.dynamodb.call::<Query>(query).await.map_err(|error| failed(walk.operation, &error))?;
            count += answer.count;
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
        let query = QueryInput { limit, exclusive_start_key: start, ..self.walking(walk) };
        let answer = self.dynamodb.call::<Query>(query).await.map_err(|error| failed(walk.operation, &error))?;
        Ok((answer.items.unwrap_or_default(), answer.last_evaluated_key))
    }

    /// The `Query` that walks so.
    fn walking<'a>(&'a self, walk: &Walk) -> QueryInput<'a> {
        let (mut names, mut values) = (Names::new(), Item::new());
        let mut value = |placeholder: Cow<'static, str>, text: &str| values.insert(placeholder, s(text));
        names.insert("#partition".into(), walk.partition.0.into());
        value(":partition".into(), &walk.partition.1);
        let (condition, bounds) = match &walk.range {
            Range::All => ("", None),
            Range::Prefix(prefix) => (" AND begins_with(#sort, :from)", Some((*prefix, None))),
            Range::Between(from, to) => (" AND #sort BETWEEN :from AND :to", Some((from.as_str(), Some(to)))),
            Range::From(from) => (" AND #sort >= :from", Some((from.as_str(), None))),
            Range::After(after) => (" AND #sort > :from", Some((after.as_str(), None))),
            Range::Below(below) => (" AND #sort < :from", Some((below.as_str(), None))),
        };
        if let Some((from, to)) = bounds {
            names.insert("#sort".into(), walk.sort.into());
            value(":from".into(), from);
            if let Some(to) = to {
                value(":to".into(), to);
            }
        }
        let mut conditions = Vec::with_capacity(walk.filters.len());
        for (index, filter) in walk.filters.iter().enumerate() {
            let of_names: Vec<String> = (0..filter.path.len()).map(|at| format!("#f{index}_{at}")).collect();
            let of_values: Vec<String> = (0..filter.any_of.len()).map(|at| format!(":f{index}_{at}")).collect();
            conditions.push(format!("{} IN ({})", of_names.join("."), of_values.join(", ")));
            names.extend(of_names.into_iter().map(Into::into).zip(filter.path.iter().cloned().map(Into::into)));
            for (placeholder, wanted) in of_values.into_iter().zip(&filter.any_of) {
                value(placeholder.into(), wanted);
            }
        }
        let placeholders: Vec<String> = (0..walk.only.len()).map(|index| format!("#p{index}")).collect();
        let projection = (!walk.only.is_empty()).then(|| placeholders.join(", "));
        names.extend(placeholders.into_iter().map(Into::into).zip(walk.only.iter().map(|name| (*name).into())));
        QueryInput {
            table_name: &self.table,
            index_name: walk.index,
            consistent_read: walk.index.is_none(),
            scan_index_forward: walk.ascending,
            key_condition_expression: format!("#partition = :partition{condition}"),
            filter_expression: (!conditions.is_empty()).then(|| conditions.join(" AND ")),
            projection_expression: projection,
            expression_attribute_names: names,
            expression_attribute_values: values,
            ..QueryInput::default()
        }
    }
}
