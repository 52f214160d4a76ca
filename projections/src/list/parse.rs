//! From the parameters of a request to a query that holds only what is allowed.

use chrono::{DateTime, SubsecRound, Utc};

use super::{
    FILTERS_MAX, Field, FieldType, Filter, IN_VALUES_MAX, LIMIT_DEFAULT, LIMIT_MAX, ListError, ListQuery,
    ListSpec, Op, SORTS_MAX, Sort, SortValue, VALUE_BYTES_MAX,
};

impl Op {
    fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "eq" => Self::Eq,
            "ne" => Self::Ne,
            "gt" => Self::Gt,
            "lt" => Self::Lt,
            "in" => Self::In,
            "like" => Self::Like,
            _ => return None,
        })
    }
}

impl ListSpec {
    /// Checks everything that was asked for.
    ///
    /// `filters`: (field, operator, value) of each `filter[field][op]=value`. `sort`: `-created_at,name`.
    /// `after`: the content of a cursor whose signature and order were checked.
    pub fn query<'a>(
        &'static self,
        filters: impl IntoIterator<Item = (&'a str, &'a str, &'a str)>,
        sort: Option<&str>,
        limit: Option<u32>,
        after: Option<Vec<SortValue>>,
    ) -> Result<ListQuery, ListError> {
        let filters =
            filters.into_iter().map(|(f, op, v)| self.filter(f, op, v)).collect::<Result<Vec<_>, _>>()?;
        if filters.len() > FILTERS_MAX {
            return Err(ListError::new("filter", format!("is given more than {FILTERS_MAX} times")));
        }
        let limit = limit.unwrap_or(LIMIT_DEFAULT);
        if !(1..=LIMIT_MAX).contains(&limit) {
            return Err(ListError::new("limit", format!("must be from 1 to {LIMIT_MAX}")));
        }
        let sort = self.sort(sort.unwrap_or(self.default_sort))?;
        if let Some(after) = &after {
            let fits = after.len() == sort.len() + 1
                && sort.iter().zip(after).all(|(sort, value)| sort.field.kind.holds(value))
                && matches!(after.last(), Some(SortValue::Uuid(_)))
                && after.iter().all(SortValue::is_storable);
            if !fits {
                return Err(ListError::new("cursor", "does not belong to this list and order"));
            }
        }
        Ok(ListQuery { filters, sort, limit, after })
    }

    fn filter(&self, name: &str, op: &str, text: &str) -> Result<Filter, ListError> {
        let parameter = || {
            let short = |text: &str| text.chars().take(40).collect::<String>();
            format!("filter[{}][{}]", short(name), short(op))
        };
        let field =
            self.fields.iter().find(|field| field.name == name && !field.ops.is_empty()).ok_or_else(
                || ListError::new(parameter(), format!("must name one of {}", self.filterable())),
            )?;
        let op = Op::parse(op)
            .filter(|op| field.ops.contains(op))
            .ok_or_else(|| ListError::new(parameter(), "uses an operator that this field does not have"))?;
        let texts: Vec<&str> = if op == Op::In { text.split(',').collect() } else { vec![text] };
        if texts.len() > IN_VALUES_MAX {
            return Err(ListError::new(parameter(), format!("has more than {IN_VALUES_MAX} values")));
        }
        // A pattern is text, whatever the field's words are.
        let kind = if op == Op::Like { FieldType::Text } else { field.kind };
        let values = texts
            .into_iter()
            .map(|text| kind.value(text).map_err(|problem| ListError::new(parameter(), problem)))
            .collect::<Result<_, _>>()?;
        Ok(Filter { field, op, values })
    }

    fn sort(&self, text: &str) -> Result<Vec<Sort>, ListError> {
        let mut sort: Vec<Sort> = Vec::new();
        for part in text.split(',') {
            let (name, descending) = match part.strip_prefix('-') {
                Some(name) => (name, true),
                None => (part, false),
            };
            let field = self
                .fields
                .iter()
                .find(|field| field.name == name && field.sortable)
                .ok_or_else(|| ListError::new("sort", format!("must be made of {}", self.sortable())))?;
            if sort.iter().any(|earlier| std::ptr::eq(earlier.field, field)) {
                return Err(ListError::new("sort", "names a field twice"));
            }
            sort.push(Sort { field, descending });
        }
        if sort.len() > SORTS_MAX {
            return Err(ListError::new("sort", format!("names more than {SORTS_MAX} fields")));
        }
        Ok(sort)
    }

    fn filterable(&self) -> String {
        names(self.fields.iter().filter(|field| !field.ops.is_empty()))
    }

    fn sortable(&self) -> String {
        names(self.fields.iter().filter(|field| field.sortable))
    }
}

fn names<'a>(fields: impl Iterator<Item = &'a Field>) -> String {
    fields.map(|field| field.name).collect::<Vec<_>>().join(", ")
}

impl FieldType {
    fn holds(self, value: &SortValue) -> bool {
        matches!(
            (self, value),
            (Self::Text | Self::Word(_), SortValue::Text(_))
                | (Self::Uuid, SortValue::Uuid(_))
                | (Self::Time, SortValue::Time(_))
        )
    }

    fn value(self, text: &str) -> Result<SortValue, String> {
        if text.len() > VALUE_BYTES_MAX {
            return Err(format!("is longer than {VALUE_BYTES_MAX} bytes"));
        }
        let value = match self {
            Self::Text => SortValue::Text(text.to_owned()),
            Self::Word(words) if words.contains(&text) => SortValue::Text(text.to_owned()),
            Self::Word(words) => return Err(format!("must be one of {}", words.join(", "))),
            Self::Uuid => SortValue::Uuid(text.parse().map_err(|_| "is not a UUID")?),
            Self::Time => {
                let time = DateTime::parse_from_rfc3339(text).map_err(|_| "is not an RFC 3339 time")?;
                SortValue::Time(time.with_timezone(&Utc).trunc_subsecs(6))
            }
        };
        if value.is_storable() { Ok(value) } else { Err("holds a character that no row can hold".to_owned()) }
    }
}

impl SortValue {
    /// False for what PostgreSQL refuses as a parameter.
    fn is_storable(&self) -> bool {
        match self {
            Self::Text(text) => !text.contains('\0'),
            Self::Uuid(_) => true,
            // Years that both RFC 3339 and a timestamptz can tell.
            Self::Time(time) => (-62_135_596_800..=253_402_300_799).contains(&time.timestamp()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static SPEC: ListSpec = ListSpec {
        fields: &[
            Field {
                name: "name",
                column: "t.name",
                kind: FieldType::Text,
                ops: &[Op::Eq, Op::Like, Op::In],
                sortable: true,
            },
            Field {
                name: "plan",
                column: "t.plan",
                kind: FieldType::Word(&["free", "pro"]),
                ops: &[Op::Eq],
                sortable: false,
            },
            Field {
                name: "at",
                column: "t.at",
                kind: FieldType::Time,
                ops: &[Op::Gt, Op::Lt],
                sortable: true,
            },
            Field { name: "shown", column: "t.shown", kind: FieldType::Text, ops: &[], sortable: false },
        ],
        default_sort: "-at",
    };

    fn refused(filter: (&str, &str, &str)) -> String {
        SPEC.query([filter], None, None, None).unwrap_err().to_string()
    }

    #[test]
    fn a_field_or_operator_that_is_not_on_the_list_is_refused() {
        assert_eq!(refused(("nme", "eq", "x")), "filter[nme][eq] must name one of name, plan, at");
        assert!(refused(("shown", "eq", "x")).contains("must name one of"));
        assert!(refused(("name", "gt", "x")).contains("operator"));
        assert!(refused(("name", "eq; DROP TABLE t", "x")).contains("operator"));
        assert!(refused(("t.name) OR (true", "eq", "x")).contains("must name one of"));
    }

    #[test]
    fn a_value_of_the_wrong_kind_is_refused_with_the_parameter_it_stands_in() {
        assert_eq!(refused(("plan", "eq", "gold")), "filter[plan][eq] must be one of free, pro");
        assert_eq!(refused(("at", "gt", "yesterday")), "filter[at][gt] is not an RFC 3339 time");
        assert!(refused(("name", "eq", "a\0b")).contains("character"));
        assert!(refused(("name", "eq", &"x".repeat(513))).contains("longer"));
        assert!(refused(("name", "in", &"x,".repeat(101))).contains("more than 100"));
    }

    #[test]
    fn an_order_is_made_of_sortable_fields_each_once() {
        let sort = |text| SPEC.query([], Some(text), None, None).map(|q| q.sort_text());
        assert_eq!(sort("-at,name").unwrap(), "-at,name");
        for bad in ["plan", "", "--at", "name,name", "at desc", "at;--"] {
            assert_eq!(sort(bad).unwrap_err().parameter, "sort", "{bad}");
        }
    }

    #[test]
    fn a_limit_beyond_its_bounds_is_refused() {
        for limit in [0, LIMIT_MAX + 1] {
            assert!(SPEC.query([], None, Some(limit), None).is_err());
        }
    }

    #[test]
    fn a_cursor_of_another_order_is_refused() {
        let id = SortValue::Uuid(uuid::Uuid::nil());
        let text = SortValue::Text("a".into());
        let query = |sort, after: &[SortValue]| SPEC.query([], Some(sort), None, Some(after.to_vec()));
        assert!(query("name", &[text.clone(), id.clone()]).is_ok());
        for wrong in [vec![], vec![id.clone()], vec![id.clone(), id.clone()], vec![text.clone(), text, id]] {
            assert_eq!(query("name", &wrong).unwrap_err().parameter, "cursor");
        }
    }
}
