<?php
// The other side of test_serialized.py: PHP's own serialize() and unserialize() around the agent's rewriting. One JSON
// object a line on stdin, one on stdout; texts are Base64, since they may be no UTF-8.

require $argv[1] . '/serialized.php';

/** A class whose properties are public, protected and private: their serialised names hold null bytes. */
class Thing
{
    public $a;
    protected $b;
    private $c;
    public $self;

    public function __construct($a, $b, $c)
    {
        list($this->a, $this->b, $this->c) = [$a, $b, $c];
        $this->self = $this;
    }
}

/** Python's tagged value as a PHP value. */
function value_of(array $tagged)
{
    list($kind, $value) = $tagged;
    switch ($kind) {
        case 'text':
            return base64_decode($value);
        case 'array':
            $made = [];
            foreach ($value as list($key, $inner)) {
                $made[is_int($key) ? $key : base64_decode($key)] = value_of($inner);
            }
            return $made;
        case 'object':
            return new Thing(...array_map('value_of', $value));
        case 'nested':
            return serialize(value_of($value));
        case 'float':
            return (float) $value;
    }
    return $value;
}

/** What the rewriting has to come to, by way of real values. */
function by_hand($value, Addresses $addresses)
{
    if (is_string($value)) {
        $inner = @unserialize($value);
        if ($inner !== false && Serialized::is_claimed($value)) {
            return serialize(by_hand($inner, $addresses));
        }
        return Serialized::is_claimed($value) ? $value : $addresses->rewritten($value);
    }
    if (is_array($value)) {
        return array_map(function ($inner) use ($addresses) {
            return by_hand($inner, $addresses);
        }, $value);
    }
    if ($value instanceof Thing) {
        $read = Closure::bind(function () {
            return [$this->a, $this->b, $this->c];
        }, $value, Thing::class);
        return new Thing(...array_map(function ($inner) use ($addresses) {
            return by_hand($inner, $addresses);
        }, $read()));
    }
    return $value;
}

while (($line = fgets(STDIN)) !== false) {
    $asked = json_decode($line, true);
    $addresses = new Addresses($asked['from'], $asked['to']);
    if (isset($asked['text'])) {
        $text = base64_decode($asked['text']);
        $new = $addresses->rewritten($text);
        $answer = ['new' => base64_encode($new), 'broken' => $addresses->broken,
            'reads' => @unserialize($text) !== false, 'still_reads' => @unserialize($new) !== false];
    } else {
        $value = value_of($asked['value']);
        $text = serialize($value);
        $answer = ['text' => base64_encode($text), 'new' => base64_encode($addresses->rewritten($text)),
            'wanted' => base64_encode(serialize(by_hand($value, $addresses))), 'broken' => $addresses->broken];
    }
    echo json_encode($answer), "\n";
    fflush(STDOUT);
}
