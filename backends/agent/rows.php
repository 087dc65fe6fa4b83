<?php
// Rows of a dump, one at a time: what stands in the statements that Dump writes, read exactly and as a stream.

/** One row. Its literals are those of the dump, so that what is written again is the same to the byte. */
final class DumpRow
{
    public $table;
    /** Column => its place. */
    public $columns;
    public $literals;
    /** `@m3` => the literals of which a value that is larger than a statement consists. */
    private $pieces;

    public function __construct($table, array $columns, array $literals, array $pieces)
    {
        $this->table = $table;
        $this->columns = $columns;
        $this->literals = $literals;
        $this->pieces = $pieces;
    }

    /** The column's bytes; null for NULL, and where the table has no such column. */
    public function value($column)
    {
        if (!isset($this->columns[$column])) {
            return null;
        }
        $literal = $this->literals[$this->columns[$column]];
        return $literal[0] === '@' ? implode('', array_map(['DumpRows', 'bytes_of'], $this->pieces[$literal])) : DumpRows::bytes_of($literal);
    }

    public function number($column)
    {
        return (int) $this->value($column);
    }

    /** `$literal` is SQL: NULL, a whole number, or a text that was quoted. */
    public function set($column, $literal)
    {
        if (isset($this->columns[$column])) {
            $this->literals[$this->columns[$column]] = (string) $literal;
        }
    }

    /** The statements that stand before `insert`. */
    public function sets()
    {
        $found = [];
        foreach (array_intersect_key($this->pieces, array_flip($this->literals)) as $variable => $pieces) {
            foreach ($pieces as $i => $literal) {
                $found[] = $i ? "SET $variable=CONCAT($variable,$literal)" : "SET $variable=$literal";
            }
        }
        return $found;
    }

    public function insert($table)
    {
        return 'INSERT INTO ' . Database::name($table) . ' (' . implode(',', array_map(['Database', 'name'], array_keys($this->columns)))
            . ') VALUES (' . implode(',', $this->literals) . ')';
    }

    /** About what it takes in memory. */
    public function weight()
    {
        $weight = 400;
        foreach ($this->literals as $literal) {
            $weight += strlen($literal) + 48;
            foreach ($this->pieces[$literal] ?? [] as $piece) {
                $weight += strlen($piece);
            }
        }
        return $weight;
    }
}

/** Reads INSERT statements by their grammar: no more than literals passes, whoever has made the dump. */
final class DumpRows
{
    const ESCAPES = ['\\0' => "\0", '\\n' => "\n", '\\r' => "\r", '\\Z' => "\x1a", '\\\\' => '\\', "\\'" => "'", '\\"' => '"'];

    /** The rows of one table of a generation; none where it has no such table. Throws `damaged`, at the end where only the hash tells. */
    public static function of_table(Generation $generation, $table)
    {
        foreach ($generation->summary['tables'] as $part) {
            if ($part['kind'] !== 'table' || $part['name'] !== $table) {
                continue;
            }
            $handle = @fopen($generation->folder . '/database.sql.gz', 'rb');
            if (!$handle) {
                throw new Failure('damaged', "the dump of {$generation->id} cannot be read", 'take another generation');
            }
            try {
                foreach (self::read($handle, $part) as $row) {
                    if ($row->table !== $table) {
                        throw self::damaged($table);
                    }
                    yield $row;
                }
            } finally {
                fclose($handle);
            }
        }
    }

    public static function has_table(Generation $generation, $table)
    {
        foreach ($generation->summary['tables'] as $part) {
            if ($part['kind'] === 'table' && $part['name'] === $table) {
                return true;
            }
        }
        return false;
    }

    /** Every row of one part of a dump, of whatever tables. */
    public static function read($handle, array $part)
    {
        $pieces = [];
        $heads = [];
        foreach (dump_part($handle, $part) as list($kind, $table, $sql)) {
            if ($kind === 'set') {
                self::keep($sql, $table, $pieces);
            } elseif ($kind === 'insert') {
                foreach (self::rows($table, $sql, $pieces, $heads) as $row) {
                    yield $row;
                }
            }
        }
    }

    private static function rows($table, $sql, array $pieces, array &$heads)
    {
        list($columns, $at) = self::head($table, $sql, $heads);
        $count = count($columns);
        $end = strlen($sql);
        while (true) {
            $literals = [];
            if (($sql[$at++] ?? '') !== '(') {
                throw self::damaged($table);
            }
            for ($i = 1; $i <= $count; $i++) {
                $literal = self::literal($sql, $at, $table);
                if ($literal[0] === '@' && !isset($pieces[$literal])) {
                    throw self::damaged($table);
                }
                $literals[] = $literal;
                if (($sql[$at++] ?? '') !== ($i < $count ? ',' : ')')) {
                    throw self::damaged($table);
                }
            }
            yield new DumpRow($table, $columns, $literals, $pieces);
            if ($at === $end) {
                return;
            }
            if ($sql[$at++] !== ',') {
                throw self::damaged($table);
            }
        }
    }

    /** The columns by their places, and where the first row begins. The head of all statements of a table is the same. */
    private static function head($table, $sql, array &$heads)
    {
        if (isset($heads[$table]) && strncmp($sql, $heads[$table][0], strlen($heads[$table][0])) === 0) {
            return [$heads[$table][1], strlen($heads[$table][0])];
        }
        $start = 'INSERT INTO ' . Database::name($table) . ' (';
        $at = strlen($start);
        $columns = [];
        if (strncmp($sql, $start, $at) !== 0) {
            throw self::damaged($table);
        }
        do {
            if (!preg_match('/\G`((?:[^`]|``){1,128})`(,|\) VALUES (?=\())/', $sql, $found, 0, $at)) {
                throw self::damaged($table);
            }
            $columns[str_replace('``', '`', $found[1])] = count($columns);
            $at += strlen($found[0]);
        } while ($found[2] === ',');
        $heads[$table] = [substr($sql, 0, $at), $columns];
        return [$columns, $at];
    }

    /** The literal that begins at `$at`, which is moved behind it. No regular expression: its stack is smaller than some texts. */
    private static function literal($sql, &$at, $table)
    {
        $start = $at;
        // Most literals are whole numbers, and most of the time goes here.
        $digits = strspn($sql, '0123456789', $at);
        $after = $sql[$at + $digits] ?? '';
        if ($digits && ($after === ',' || $after === ')')) {
            $at += $digits;
            return substr($sql, $start, $digits);
        }
        $first = $sql[$at] ?? '';
        if ($first === "'") {
            for ($at++; ; $at += 2) {
                $at += strcspn($sql, "'\\", $at);
                $stop = $sql[$at] ?? '';
                if ($stop === "'") {
                    $at++;
                    return substr($sql, $start, $at - $start);
                }
                if ($stop === '' || !isset($sql[$at + 1])) {
                    throw self::damaged($table);
                }
            }
        }
        if ($first === '0' && ($sql[$at + 1] ?? '') === 'x') {
            $length = strspn($sql, '0123456789abcdef', $at + 2);
            $at += 2 + $length;
            if ($length === 0 || $length % 2) {
                throw self::damaged($table);
            }
            return substr($sql, $start, $at - $start);
        }
        if (!preg_match('/\G(?:NULL|@m\d{1,4}|-?\d[\d.]{0,80}(?:[eE][+-]?\d{1,4})?)(?=[,)]|$)/D', $sql, $found, 0, $at)) {
            throw self::damaged($table);
        }
        $at += strlen($found[0]);
        return $found[0];
    }

    private static function keep($sql, $table, array &$pieces)
    {
        if (!preg_match('/^SET (@m\d{1,4})=(CONCAT\(\1,)?/', $sql, $found)) {
            throw self::damaged($table);
        }
        $at = strlen($found[0]);
        $literal = self::literal($sql, $at, $table);
        $whole = empty($found[2]);
        if (substr($sql, $at) !== ($whole ? '' : ')') || $literal[0] === '@' || (!$whole && empty($pieces[$found[1]]))) {
            throw self::damaged($table);
        }
        if ($literal === 'NULL') {
            unset($pieces[$found[1]]);
        } elseif ($whole) {
            $pieces[$found[1]] = [$literal];
        } else {
            $pieces[$found[1]][] = $literal;
        }
    }

    /** What a literal stands for; null for NULL. */
    public static function bytes_of($literal)
    {
        if ($literal[0] === "'") {
            $text = substr($literal, 1, -1);
            return strpos($text, '\\') === false ? $text : strtr($text, self::ESCAPES);
        }
        if (strncmp($literal, '0x', 2) === 0) {
            return hex2bin(substr($literal, 2));
        }
        return $literal === 'NULL' ? null : $literal;
    }

    private static function damaged($table)
    {
        return new Failure('damaged', "the dump of the table $table has a statement that is none of ours", 'take another generation');
    }
}
