<?php
// By whose word the database of a site opens that is to be restored: its live wp-config.php's, a person's, the generation's;
// and the wp-config.php into which that word is written where the generation's own no longer opens it.

/** What a person knows who has the host's panel before them; all else of a wp-config.php stays as the generation has it. */
const CREDENTIALS = ['name' => 'DB_NAME', 'user' => 'DB_USER', 'password' => 'DB_PASSWORD', 'host' => 'DB_HOST'];

final class Access
{
    /** `live`, `given` or `generation`. */
    public $from;
    public $site;
    /** Whether the generation's wp-config.php has to be given these credentials. */
    public $writes;
    /** Why the live wp-config.php is not what opens it, or null. */
    private $lost;

    private function __construct($from, Installation $site, $writes, $lost)
    {
        $this->from = $from;
        $this->site = $site;
        $this->writes = $writes;
        $this->lost = $lost;
    }

    /** What opens the database that the generation goes to. Throws NoAccess, or why nothing tells where it is. */
    public static function of(Request $request, Generation $generation)
    {
        if ($generation->move) {
            return new self('live', $generation->move->site, false, null);
        }
        list($live, $lost) = self::tried(function () use ($request, $generation) {
            return live_installation($request, $generation);
        });
        list($stored, $why) = self::stored($request, $generation);
        foreach (self::candidates($request, $generation, $live, $stored) as $from => $site) {
            try {
                Database::open($site);
                $writes = $from !== 'generation' && $stored && !self::suits($stored, $from, $site);
                return new self($from, $site, $writes, $from === 'live' ? null : ($lost ?: new Failure('no_database', 'the live wp-config.php leads astray')));
            } catch (Failure $e) {
                $why = $e;
                $refused[$from] = $e;
            }
        }
        if ($generation->visits && !isset($refused)) {
            $why = new Failure('no_database', 'a rehearsal of another site needs an empty database of its own');
        } elseif (isset($refused['given'])) {
            $why = $refused['given'];
        } elseif (isset($refused['live'])) {
            $why = $refused['live'];
        } elseif (isset($refused['generation'])) {
            $why = new Failure('no_database', 'wp-config.php is gone, and the generation\'s no longer opens the database: ' . $why->getMessage());
        }
        throw new NoAccess($lost && !isset($refused) && !$generation->visits ? $lost : $why, $live ?: $stored);
    }

    /** It lies in a pack, and does not change: read once in a process. */
    private static function stored(Request $request, Generation $generation)
    {
        static $known = [];
        return $known[$generation->id] ?? ($known[$generation->id] = self::tried(function () use ($request, $generation) {
            return installation_of_generation($request, $generation);
        }));
    }

    /** In the order in which they are tried: after a restore of everything the site uses what the generation names. */
    private static function candidates(Request $request, Generation $generation, $live, $stored)
    {
        $of = $generation->summary['database'];
        $whole = $request->get('only', 'all') === 'all';
        $name = $stored ? $stored->setting('DB_NAME') : ($of['name'] ?? null);
        $host = $stored ? $stored->setting('DB_HOST') : null;
        // Made elsewhere, it names the database that it had there.
        $agrees = $live && $live->prefix === $of['prefix'] && (!$whole || $generation->relocation || (($name === null || $live->setting('DB_NAME') === $name)
            && ($host === null || $live->setting('DB_HOST') === $host)));
        // A visitor's code is a stranger's: it gets a database of its own, never that of a site of this account.
        $found = $agrees && !$generation->visits ? ['live' => $live] : [];
        $given = given_credentials($request);
        // With the database alone no wp-config.php comes back: a live one that leads elsewhere would stay.
        if ($given && $stored && !($live && $request->get('only') === 'database')) {
            $found['given'] = $stored->with_settings($given);
        }
        if ($stored && !$generation->visits) {
            $found['generation'] = $stored;
        }
        if ($live && !$agrees && !$generation->visits) {
            $found['live'] = $live->with_settings([]);
            $found['live']->prefix = $of['prefix'];
        }
        return $found;
    }

    /** Whether the generation's wp-config.php may stay as it is: it leads to the same database and is let in. */
    private static function suits(Installation $stored, $from, Installation $site)
    {
        $differing = array_filter(CREDENTIALS, function ($constant) use ($stored, $site) {
            return $stored->setting($constant) !== $site->setting($constant);
        });
        if (!$differing) {
            return true;
        }
        return ($from === 'live' || !array_intersect($differing, ['DB_NAME', 'DB_HOST'])) && self::tried(function () use ($stored) {
            return Database::open($stored);
        })[1] === null;
    }

    /** What `$find` returns and null, or null and the Failure. */
    private static function tried(callable $find)
    {
        try {
            return [$find(), null];
        } catch (Failure $e) {
            if (!in_array($e->word, ['no_root', 'no_wordpress', 'no_config', 'no_database'], true)) {
                throw $e;
            }
            return [null, $e];
        }
    }

    /** What the operator should know of it, one sentence, or null. `$alone`: the database comes back without the files. */
    public function told($alone)
    {
        if ($this->from === 'live') {
            return $this->writes ? 'the generation\'s wp-config.php no longer opens the database: it gets the live one\'s credentials' : null;
        }
        $gone = $this->lost->word !== 'no_database';
        if ($this->from === 'generation') {
            return $gone ? 'wp-config.php is gone; its database opens with the generation\'s'
                : 'the live wp-config.php does not lead to the database; the generation\'s opens it';
        }
        $where = !$this->writes ? '' : ($alone ? '; --only files brings a wp-config.php with them' : '; they are written into the restored one');
        return ($gone ? 'wp-config.php is gone; its database opens with the credentials given'
            : 'the live wp-config.php does not lead to the database; the credentials given open it') . $where;
    }
}

/** No known credentials open the database. `known`: what is known of them but the password, for whoever is asked. */
final class NoAccess extends Failure
{
    public $known = [];

    public function __construct(Failure $why, $site)
    {
        $hint = 'give them as the host\'s panel has them: [server.database] in the site\'s file, or at the prompt';
        parent::__construct($why->word, $why->getMessage(), $hint);
        foreach ($site ? ['name', 'user', 'host'] : [] as $key) {
            $this->known[$key] = (string) $site->setting(CREDENTIALS[$key], '');
        }
    }
}

/** The constants that a person gave, or null. Throws bad_request. */
function given_credentials(Request $request, $field = 'credentials')
{
    $given = $request->get($field);
    if ($given === null) {
        return null;
    }
    $constants = [];
    foreach (CREDENTIALS as $key => $constant) {
        $value = is_array($given) ? $given[$key] ?? null : null;
        if (!is_string($value) || strlen($value) > 500 || preg_match('/[\x00-\x1f\x7f]/', $value) || ($value === '' && $key !== 'password')) {
            throw new Failure('bad_request', "the database's $key is not a line of at most 500 characters", 'compare it with the host\'s panel');
        }
        $constants[$constant] = $value;
    }
    return $constants;
}

/** What the live wp-config.php says, also where WordPress beside it is gone. */
function live_installation(Request $request, Generation $generation)
{
    try {
        return Installation::find($request);
    } catch (Failure $e) {
        $entry = in_array($e->word, ['no_root', 'no_wordpress'], true) ? config_entry($generation) : null;
        $file = $entry ? live_at($request, $generation, $entry->path) : '';
        if (!is_file($file)) {
            throw $e;
        }
        return Installation::from_config($file, $request->root);
    }
}

/** The manifest's entry of the generation's wp-config.php, or null. */
function config_entry(Generation $generation)
{
    $above = dirname($generation->summary['abspath']);
    foreach ($generation->manifest() as $entry) {
        if ($entry->type === 'f' && basename($entry->path) === 'wp-config.php'
            && in_array(dirname(area_path($generation, $entry->path)), [$generation->summary['abspath'], $above], true)) {
            return $entry;
        }
    }
    return null;
}

/** What the generation's own wp-config.php says. */
function installation_of_generation(Request $request, Generation $generation)
{
    $entry = config_entry($generation);
    if (!$entry) {
        throw new Failure('no_config', "there is no wp-config.php in the generation {$generation->id}", 'take another generation');
    }
    make_folder($request->folder . '/ops');
    $copy = $request->folder . '/ops/.config-' . random_hex(8) . '.php';
    $out = @fopen($copy, 'xb');
    if (!$out) {
        throw new Failure('no_state', "cannot write $copy: " . last_error('unknown reason'), 'look at the permissions and the quota');
    }
    chmod($copy, 0600);
    try {
        (new PackReader($generation->packs))->copy($entry, $out);
        return Installation::from_config($copy, $request->root);
    } finally {
        fclose($out);
        unlink($copy);
    }
}

/** The staged wp-config.php gets the credentials that open the database, and reads back so. Nothing else of it changes. */
function write_credentials(Operation $operation, Generation $generation, Installation $site)
{
    $staged = staged_at($operation, config_entry($generation)->path);
    refuse_way_out(dirname($staged), $operation->recall('places'));
    $before = Installation::from_config($staged, $operation->request->root);
    $wanted = $differing = [];
    foreach (CREDENTIALS as $constant) {
        $wanted[$constant] = (string) $site->setting($constant, '');
        if ($before->setting($constant) !== $wanted[$constant]) {
            $differing[$constant] = $wanted[$constant];
        }
    }
    $text = with_constants((string) file_get_contents($staged), $differing);
    write_in_place($staged, $text);
    $now = Installation::from_config($staged, $operation->request->root);
    foreach ($wanted as $constant => $value) {
        if ($now->setting($constant) !== $value) {
            throw new Failure('no_config', "the generation's wp-config.php takes $constant from elsewhere: credentials cannot be written into it",
                'restore --only files, put them where it takes them from, then restore --only database');
        }
    }
}

/**
 * A PHP source whose `define('NAME', …)` and `const NAME = …` of these names have these values, wherever they stand; all
 * other bytes stay, comments and texts that look like one too.
 */
function with_constants($source, array $values)
{
    if (!function_exists('token_get_all')) {
        throw new Failure('no_config', 'PHP on the command line has no tokenizer: wp-config.php cannot be rewritten', 'set [server] php to the PHP that the site uses');
    }
    $tokens = array_map(function ($token) {
        return is_array($token) ? $token : [null, $token];
    }, token_get_all($source));
    $tokens[] = [null, ''];
    $out = '';
    for ($i = 0; $i < count($tokens) - 1; $i++) {
        $out .= $tokens[$i][1];
        $value = value_of_constant($tokens, $i, $values);
        if ($value) {
            list($from, $to, $name) = $value;
            for ($i++; $i < $from; $i++) {
                $out .= $tokens[$i][1];
            }
            $out .= var_export($values[$name], true);
            $i = $to;
        }
    }
    return $out;
}

/** Where the value stands of a constant among `$names` whose definition begins at token `$i`: [first, last, name], or null. */
function value_of_constant(array $tokens, $i, array $names)
{
    // \define is one token from PHP 8 on, and two before.
    $defines = strtolower(ltrim($tokens[$i][1], '\\')) === 'define' && ($tokens[$i][0] === T_STRING || strncmp(token_name((int) $tokens[$i][0]), 'T_NAME_', 7) === 0);
    if (!$defines && $tokens[$i][0] !== T_CONST) {
        return null;
    }
    $at = $i;
    if ($defines && $tokens[$at = next_token($tokens, $at)][1] !== '(') {
        return null;
    }
    $at = next_token($tokens, $at);
    $name = $tokens[$at][1];
    if ($defines) {
        $name = $tokens[$at][0] === T_CONSTANT_ENCAPSED_STRING ? substr($name, 1, -1) : '';
    }
    $at = next_token($tokens, $at);
    if (!isset($names[$name]) || $tokens[$at][1] !== ($defines ? ',' : '=')) {
        return null;
    }
    $first = $last = next_token($tokens, $at);
    for ($depth = 0, $at = $first; $at < count($tokens) - 1; $at = next_token($tokens, $at)) {
        $within = in_array($tokens[$at][0], [T_CURLY_OPEN, T_DOLLAR_OPEN_CURLY_BRACES], true);
        $text = $within ? '{' : ($tokens[$at][0] === null ? $tokens[$at][1] : '');
        if ($depth === 0 && in_array($text, $defines ? [')', ','] : [';', ','], true)) {
            return $at === $first ? null : [$first, $last, $name];
        }
        $depth += in_array($text, ['(', '[', '{'], true) ? 1 : (in_array($text, [')', ']', '}'], true) ? -1 : 0);
        $last = $at;
    }
    return null;
}

/** The next token that is neither white space nor a comment; the last one, which is empty, where there is none. */
function next_token(array $tokens, $at)
{
    $end = count($tokens) - 1;
    do {
        $at = min($end, $at + 1);
    } while (in_array($tokens[$at][0], [T_WHITESPACE, T_COMMENT, T_DOC_COMMENT], true));
    return $at;
}
