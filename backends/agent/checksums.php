<?php
// What wordpress.org publishes of a release, as the client brought it (path and MD5), and core's files judged by it.
//
// `checksums/core` is text: `core VERSION LOCALE`, then `MD5 PATH` a line. Whoever owns this server could rewrite it, so
// every request names its SHA-256, and a list with another one counts for nothing.

/** 7.1 has 3,400 files, 280 kB. */
const CHECKSUMS_AT_MOST = 2097152;
/** Files that a summary names as altered; of more nothing is carried over to the next generation. */
const ALTERED_AT_MOST = 1000;
/** No file of core comes near it. */
const CORE_FILE_AT_MOST = 67108864;
/** Differs between packages and by people's hands, and is run by nobody. */
const NEVER_RUN = '~^(?:[^/]+(?<!\.php)|wp-config-sample\.php)$~D';

/** The verb `checksums`: what is here, and the hashes of the lists that lie here; a list that follows the line is kept. */
function answer_checksums(Request $request)
{
    try {
        $site = Installation::find($request);
    } catch (Failure $e) {
        $site = Installation::find_bare($request);
    }
    $wanted = $request->get('sha256');
    if ($wanted !== null) {
        $what = $request->get('of', 'core') === 'plugins' ? 'plugins' : 'core';
        $most = $what === 'core' ? CHECKSUMS_AT_MOST : PLUGIN_LISTS_AT_MOST;
        $text = (string) stream_get_contents(STDIN, $most + 1);
        if (strlen($text) > $most || sha256($text) !== $wanted) {
            throw new Failure('damaged', 'the checksums changed on their way', 'try again');
        }
        make_folder(dirname(Checksums::path($request)));
        write_durably(Checksums::path($request, $what), $text);
    }
    $lies = function ($what) use ($request) {
        return is_file(Checksums::path($request, $what)) ? file_sha256(Checksums::path($request, $what)) : null;
    };
    return release_of($site->abspath) + ['sha256' => $lies('core'), 'plugins' => (object) plugins_here($site), 'plugins_sha256' => $lies('plugins')];
}

/** Version and locale of the package that core was taken from, as its own version.php says: {version, locale}. */
function release_of($abspath)
{
    $text = (string) @file_get_contents("$abspath/wp-includes/version.php", false, null, 0, 65536);
    $of = function ($name) use ($text) {
        return preg_match('/^\s*\$' . $name . '\s*=\s*[\'"]([A-Za-z0-9._-]{1,40})[\'"]/m', $text, $found) ? $found[1] : null;
    };
    // ClassicPress says which WordPress it grew from; of its files wordpress.org knows nothing.
    return ['version' => $of('cp_version') === null ? $of('wp_version') : null, 'locale' => $of('wp_local_package') ?: 'en_US'];
}

/** One list. */
final class Checksums
{
    public $version = '';
    public $locale = '';
    /** Path => MD5. */
    private $files = [];

    public static function path(Request $request, $what = 'core')
    {
        return "{$request->folder}/checksums/$what";
    }

    /** The list with this hash; null where another one lies here, or none. */
    public static function held(Request $request, $sha256)
    {
        $text = (string) @file_get_contents(self::path($request), false, null, 0, CHECKSUMS_AT_MOST);
        if ($text === '' || sha256($text) !== $sha256) {
            return null;
        }
        $self = new self();
        foreach (explode("\n", $text) as $i => $line) {
            if ($i === 0 && preg_match('/^core (\S+) (\S+)$/D', $line, $found)) {
                list(, $self->version, $self->locale) = $found;
            } elseif (preg_match('/^([0-9a-f]{32}) (\S.*)$/D', $line, $found)) {
                $self->files[$found[2]] = $found[1];
            }
        }
        return $self;
    }

    public function of($path)
    {
        return $this->files[$path] ?? null;
    }
}

/**
 * Core's files against the list. Of two generations in a row only what is new in the second is read: the rest was judged
 * in the first, and its content is the same. That also tells an older core's left-over (its file was right in its time)
 * from a file that was planted. Where nothing can be carried over, everything is read, and a left-over is what core's own
 * list of files to remove names.
 */
final class CoreFiles
{
    private $problem;
    /** Path => [sha256, whether an operator called a generation clean that has it]. */
    private $altered = [];
    private $count = 0;
    private $total = 0;
    private $read = 0;
    private $listed = 0;
    private $list = null;
    private $asked;
    private $before = [];
    private $carries = false;
    private $accepted = false;
    private $leftovers = null;
    private $site;
    private $signs;

    /** `$before`: the generation to carry over from, or null. */
    public function __construct(Request $request, Installation $site, Signs $signs, $before)
    {
        $this->site = $site;
        $this->signs = $signs;
        $this->asked = is_array($request->get('core')) ? $request->get('core') : null;
        $then = $before ? ($before->summary['core'] ?? null) : null;
        if (is_array($then)) {
            foreach (is_array($then['altered'] ?? null) ? $then['altered'] : [] as $one) {
                $this->before[unescape_path((string) ($one['path'] ?? ''))] = [$one['sha256'] ?? '', !empty($one['accepted'])];
            }
            // Where nothing was known there is no count; where it names fewer than it counts, not all is known.
            $this->carries = ($then['count'] ?? null) === count($this->before);
            $this->accepted = (new ClientsWord($request))->calls_clean($before);
        }
        $this->problem = $this->list_for(release_of($site->abspath), $request);
    }

    /** Finds the list; returns why there is none. */
    private function list_for(array $release, Request $request)
    {
        if ($this->asked === null) {
            return 'no checksums were asked for';
        }
        if (!is_string($this->asked['sha256'] ?? null)) {
            return is_string($this->asked['problem'] ?? null) ? substr($this->asked['problem'], 0, 300) : 'there are no checksums';
        }
        $this->list = Checksums::held($request, $this->asked['sha256']);
        if (!$this->list) {
            return 'the checksums on this server are not those that were brought';
        }
        return [$this->list->version, $this->list->locale] === [$release['version'], $release['locale']] ? null
            : "the checksums are of {$this->list->version} {$this->list->locale}, and another release is here";
    }

    /** Whether a client wanted core to be compared. */
    public function is_asked()
    {
        return $this->asked !== null;
    }

    /** An entry of a new generation, and what the one before has at its path or null. */
    public function see(Entry $live, $old, $file)
    {
        $path = $this->problem === null ? $this->judged($live) : null;
        if ($path === null) {
            return;
        }
        $same = $old && $old->type === 'f' && $live->type === 'f' && $old->sha256 === $live->sha256;
        $known = $this->before[$path] ?? null;
        if ($this->carries && $same ? $known === null : $this->is_published($path, $file, false)) {
            return;
        }
        $accepted = $known !== null && $known[0] === $live->sha256 && ($known[1] || $this->accepted);
        $this->total++;
        $this->count += $accepted ? 0 : 1;
        if (count($this->altered) < ALTERED_AT_MOST) {
            $this->altered[$path] = [$live->sha256, $accepted];
        }
        $accepted || $this->signs->example('core_checksums', $live->path);
    }

    /** A live entry of a diff: everything that the list names is read. `$same`: the generation has the same content there. */
    public function is_altered(Entry $live, $file, $same)
    {
        $path = $this->problem === null ? $this->judged($live) : null;
        return $path !== null && !$this->is_published($path, $file, $same && $this->carries && !isset($this->before[$path]));
    }

    /** Its path below WordPress's folder, where there is something to judge. */
    private function judged(Entry $live)
    {
        $path = $live->type === 'd' ? null : $this->signs->below_core($live->path);
        if ($path === null || strncmp($path, 'wp-content/', 11) === 0 || preg_match(NEVER_RUN, $path)) {
            return null;
        }
        if ($this->list->of($path) !== null) {
            $this->listed++;
            return $path;
        }
        return preg_match('~^wp-(?:admin|includes)/~', $path) && preg_match(RUNS_AS_PHP, $path) ? $path : null;
    }

    private function is_published($path, $file, $was_right)
    {
        $md5 = $this->list->of($path);
        if ($md5 === null) {
            return $was_right || (!$this->carries && $this->is_leftover($path));
        }
        $this->read++;
        return is_file($file) && filesize($file) <= CORE_FILE_AT_MOST && @md5_file($file) === $md5;
    }

    /** Core's own list of what an update has to remove, where the file that holds it is as published. */
    private function is_leftover($path)
    {
        if ($this->leftovers === null) {
            $this->leftovers = [];
            $text = (string) @file_get_contents("{$this->site->abspath}/wp-admin/includes/update-core.php", false, null, 0, 4194304);
            if (md5($text) === $this->list->of('wp-admin/includes/update-core.php')
                && preg_match_all('/\$_old_(?:requests_)?files\s*=\s*array\((.*?)\n\);/s', $text, $found)) {
                preg_match_all("~'(wp-(?:admin|includes)/[^']+?)/?'~", implode('', $found[1]), $names);
                $this->leftovers = array_flip($names[1]);
            }
        }
        // It names files, and folders with all that is in them.
        for (; $path !== '.'; $path = dirname($path)) {
            if (isset($this->leftovers[$path])) {
                return true;
            }
        }
        return false;
    }

    /** How many files differ and were accepted by nobody. */
    public function count()
    {
        return $this->problem() === null ? $this->count : 0;
    }

    /**
     * Why nothing can be said, when all entries were seen; null where it can. A core that lies behind a link is none of
     * this site's files.
     */
    public function problem()
    {
        return $this->problem ?? ($this->listed ? null : 'no file of core lies in the site');
    }

    /** What the summary keeps; of a generation that could not be judged, what the one before knew. */
    public function as_record()
    {
        $problem = $this->problem();
        $altered = [];
        foreach ($problem === null ? $this->altered : $this->before as $path => list($sha256, $accepted)) {
            $altered[] = ['path' => escape_path((string) $path), 'sha256' => $sha256, 'accepted' => $accepted || ($problem !== null && $this->accepted)];
        }
        return ['problem' => $problem, 'version' => $this->list->version ?? null, 'locale' => $this->list->locale ?? null,
            'read' => $this->read, 'count' => $problem === null ? $this->total : null, 'altered' => $altered];
    }
}
