<?php
// Text in PHP's serialize format changed without unserialize(): nothing of a site's data is ever brought to life here.

/** Deeper than any data of a site; a value that goes on is taken for broken. */
const SERIALIZED_DEPTH = 256;

/** Rewrites the strings inside a serialised value and counts their bytes anew. Keys, names of classes and properties stay. */
final class Serialized
{
    private $text;
    private $at;
    private $replace;

    /** Whether text claims to be serialised with strings in it; a number or a boolean has nothing to rewrite. */
    public static function is_claimed($text)
    {
        return (bool) preg_match('/^\s*(?:[aOCE]:\d+:[{"]|[sS]:\d+:")/', $text);
    }

    /** The rewritten text, or null where it is broken. `$replace` maps a plain text to a plain text. */
    public static function rewritten($text, callable $replace)
    {
        $self = new self();
        $self->text = $text;
        $self->at = strspn($text, " \t\r\n\v\0");
        $self->replace = $replace;
        $value = $self->value(0);
        if ($value === null || trim(substr($text, $self->at)) !== '') {
            return null;
        }
        return substr($text, 0, strspn($text, " \t\r\n\v\0")) . $value . substr($text, $self->at);
    }

    /** What stands at the place and is passed over, or null. */
    private function match($pattern)
    {
        if (!preg_match($pattern . 'A', $this->text, $found, 0, $this->at)) {
            return null;
        }
        $this->at += strlen($found[0]);
        return $found;
    }

    private function value($depth)
    {
        if ($depth > SERIALIZED_DEPTH) {
            return null;
        }
        switch ($this->text[$this->at] ?? '') {
            case 's':
                return $this->string(true);
            case 'a':
                $head = $this->match('/a:(\d{1,9}):\{/');
                return $head ? $this->members($head, $depth) : null;
            case 'O':
                $head = $this->match('/O:(\d{1,5}):"([^"]*)":(\d{1,9}):\{/');
                return $head && strlen($head[2]) === (int) $head[1] ? $this->members([$head[0], $head[3]], $depth) : null;
            case 'C':
                return $this->custom();
            case 'S':
                return $this->escaped();
            case 'E':
                $found = $this->match('/E:(\d{1,5}):"([^"]*)";/');
                return $found && strlen($found[2]) === (int) $found[1] ? $found[0] : null;
        }
        $found = $this->match('/(?:N|b:[01]|i:[+-]?\d+|d:(?:[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|-?INF|NAN)|[rR]:\d+);/');
        return $found ? $found[0] : null;
    }

    private function members(array $head, $depth)
    {
        $out = $head[0];
        for ($left = (int) $head[1]; $left > 0; $left--) {
            $key = ($this->text[$this->at] ?? '') === 's' ? $this->string(false) : ($this->match('/i:[+-]?\d+;/')[0] ?? null);
            $value = $key === null ? null : $this->value($depth + 1);
            if ($value === null) {
                return null;
            }
            $out .= $key . $value;
        }
        return $this->match('/\}/') ? $out . '}' : null;
    }

    private function string($rewrites)
    {
        $head = $this->match('/s:(\d{1,10}):"/');
        if (!$head) {
            return null;
        }
        $length = (int) $head[1];
        if (substr($this->text, $this->at + $length, 2) !== '";') {
            return null;
        }
        $content = substr($this->text, $this->at, $length);
        $this->at += $length + 2;
        if ($rewrites) {
            $content = ($this->replace)($content);
        }
        return 's:' . strlen($content) . ':"' . $content . '";';
    }

    /** The length counts what the escapes stand for; PHP itself no longer writes these, and they are passed on as they are. */
    private function escaped()
    {
        $start = $this->at;
        $head = $this->match('/S:(\d{1,10}):"/');
        if (!$head) {
            return null;
        }
        for ($left = (int) $head[1]; $left > 0; $left--) {
            if ($this->at >= strlen($this->text)) {
                return null;
            }
            $this->at += $this->text[$this->at] === '\\' ? 3 : 1;
        }
        return $this->match('/";/') ? substr($this->text, $start, $this->at - $start) : null;
    }

    /** A class wrote this itself, in a form that only it knows: passed on as it is. */
    private function custom()
    {
        $start = $this->at;
        $head = $this->match('/C:(\d{1,5}):"([^"]*)":(\d{1,10}):\{/');
        if (!$head || strlen($head[2]) !== (int) $head[1] || ($this->text[$this->at + (int) $head[3]] ?? '') !== '}') {
            return null;
        }
        $this->at += (int) $head[3] + 1;
        return substr($this->text, $start, $this->at - $start);
    }
}

/** One site's addresses in text, turned into another's. */
final class Addresses
{
    /** Values that claim to be serialised and are not, with an address in them: left as they are. */
    public $broken = 0;
    private $pattern;
    private $to;

    /** `$from`: URLs of the old site; `$to`: the URL of the new one. */
    public function __construct(array $from, $to)
    {
        $places = [];
        foreach ($from as $url) {
            if (preg_match('~^https?://(?:www\.)?([^/]+)(/.*)?$~iD', rtrim($url, '/'), $found)) {
                $places[$found[1] . ($found[2] ?? '')] = true;
            }
        }
        // The longer first: where WordPress lives in a folder, its address begins with the front page's.
        $places = array_map('strval', array_keys($places));
        usort($places, function ($a, $b) {
            return strlen($b) - strlen($a);
        });
        $this->to = rtrim($to, '/');
        $forms = [];
        foreach ($this->spellings() as $slash => $colon) {
            $names = array_map(function ($place) use ($slash, $colon) {
                return preg_quote($this->spelt($place, $slash, $colon), '~');
            }, $places);
            $forms[] = '(?:https?' . preg_quote($colon, '~') . ')?' . preg_quote($slash . $slash, '~') . '(?:www\.)?(?:' . implode('|', $names) . ')';
        }
        // Not the beginning of a longer host name, nor another port of it.
        $this->pattern = '~(?:' . implode('|', $forms) . ')(?![A-Za-z0-9_-]|\.[A-Za-z0-9]|:\d|%3A\d)~i';
    }

    /** How `/` and `:` are written: plain, in JSON, in JSON inside JSON, in a query. */
    private function spellings()
    {
        return ['/' => ':', '\\/' => ':', '\\\\\\/' => ':', '%2F' => '%3A'];
    }

    private function spelt($text, $slash, $colon)
    {
        return str_replace(['/', ':'], [$slash, $colon], $text);
    }

    /** Text with addresses, serialised or not, and serialised inside serialised. */
    public function rewritten($text)
    {
        if (!preg_match($this->pattern, $text)) {
            return $text;
        }
        if (Serialized::is_claimed($text)) {
            $new = Serialized::rewritten($text, [$this, 'rewritten']);
            if ($new === null) {
                $this->broken++;
            }
            return $new ?? $text;
        }
        return preg_replace_callback($this->pattern, function ($found) {
            foreach (array_reverse($this->spellings()) as $slash => $colon) {
                if (stripos($found[0], $slash . $slash) !== false) {
                    $new = $this->spelt($this->to, $slash, $colon);
                    $bare = stripos($found[0], $slash) === 0;
                    return $bare ? substr($new, strpos($new, $slash)) : $new;
                }
            }
            return $found[0];
        }, $text);
    }
}
