<?php
// A generation that lies off-site becomes one of the server's own again: what of it has to be brought, and its return.
// What brings it is `receive`; what is on the disk counts by its hash alone, wherever it lies.

/** The parts that have to cross the wire. Throws bad_request, damaged (not the sealed summary), no_space. */
function answer_lacking(Request $request)
{
    return ['lacking' => (new Adoption($request))->lacking()];
}

/** Under the site's lock, as an operation. Throws bad_request, damaged, busy, waiting, no_space, no_state. */
function answer_adopt(Request $request)
{
    $adoption = new Adoption($request);
    refuse_if_busy($request);
    $lock = Lock::take($request, 2.0);
    if (!$lock) {
        throw new Failure('busy', 'another process works on this site', 'try again in a moment');
    }
    try {
        $generation = $adoption->adopt();
    } finally {
        fclose($lock);
    }
    return ['generation' => $generation->as_record(Damage::of($request)), 'seal' => $generation->seal];
}

/** What was brought of a generation, beside what the server has of it. */
final class Adoption
{
    private $request;
    private $incoming;
    private $text;
    private $generation;
    private $telling;
    private $done = 0;
    private $total;
    /** Handles of what was brought: while they are locked, no other client writes there. */
    private $held = [];

    public function __construct(Request $request)
    {
        $this->request = $request;
        $this->incoming = incoming_folder($request);
        $this->text = $request->text('summary');
        $this->generation = Generation::brought($request, $this->text, $request->text('seal'));
        $this->telling = new Telling($request);
        $this->total = array_sum(array_column($this->generation->parts(), 'size'));
    }

    /** [{what, have}]. What was brought and cannot become the part is removed. */
    public function lacking()
    {
        $lacking = [];
        $bytes = 0;
        foreach ($this->generation->parts() as $what => $part) {
            $have = $this->is_right($this->place($what), $part) ? null : $this->brought($what, $part);
            if ($have !== null) {
                $lacking[] = ['what' => $what, 'have' => $have];
                $bytes += $part['size'] - $have;
            }
            $this->tell($part['size']);
        }
        make_folder($this->request->folder);
        $bytes && need_room($this->request->folder, $bytes);
        return $lacking;
    }

    /**
     * Packs first, then its folder by one rename: killed anywhere it is begun again, and what was here is as good as before.
     * It is pinned, since retention knows it only as an old one, and it came to be used. One of its id that is here and is
     * another is evidence: its folder goes to `replaced/`, while of the packs the sealed bytes alone stay.
     */
    public function adopt()
    {
        $this->check();
        foreach (['packs', 'generations'] as $sub) {
            make_folder($this->request->folder . '/' . $sub);
        }
        foreach ($this->generation->parts() as $what => $part) {
            moment_of($what) && $this->put($what);
        }
        sync_folder($this->generation->packs);
        $this->remember_id();
        if ($this->is_here()) {
            $this->put('manifest');
            $this->put('dump');
            $this->generation->has_recipe() || $this->write($this->generation->folder, 'RESTORE.txt', restore_by_hand($this->generation->summary), 0400);
            $this->write($this->generation->folder, 'pinned', now_text());
        } else {
            $this->complete();
            $this->replace();
        }
        Damage::of($this->request)->record($this->generation, false, [], array_column($this->generation->summary['packs'], 'id'));
        forget_incoming($this->request, basename($this->incoming));
        return Generation::open($this->request, $this->generation->id);
    }

    /** Every part is here, as it was sealed, and there is room for what is not renamed. */
    private function check()
    {
        $copied = 0;
        $stays = $this->is_here();
        foreach ($this->generation->parts() as $what => $part) {
            $this->hold($what);
            if ($this->brought($what, $part) !== null) {
                if (!$this->is_right($this->place($what), $part)) {
                    throw new Failure('damaged', "the part $what of {$this->generation->id} is not here as it was sealed", 'bring it again');
                }
                remove_tree($this->path($what));
                $copied += $stays || moment_of($what) ? 0 : $part['size'];
            }
            $this->tell($part['size']);
        }
        read_manifest($this->here('manifest'))->current();
        need_room($this->request->folder, strlen($this->text) + $copied);
    }

    /** The very generation stands here already, whatever became of its other files. */
    private function is_here()
    {
        $folder = $this->generation->folder;
        return is_dir($folder) && !is_link($folder) && sha256((string) @file_get_contents($folder . '/summary.json')) === $this->generation->seal;
    }

    /** The transfer's folder becomes the generation's: its parts have the names that they have there. */
    private function complete()
    {
        make_folder($this->incoming);
        foreach (['manifest', 'dump'] as $what) {
            $path = $this->path($what);
            exists($path) || $this->copy($this->place($what), $path);
            $this->seal($path);
        }
        foreach (@scandir($this->incoming) ?: [] as $name) {
            if (!in_array($name, ['.', '..', 'manifest', 'database.sql.gz'], true)) {
                remove_tree("{$this->incoming}/$name");
            }
        }
        $this->write($this->incoming, 'RESTORE.txt', restore_by_hand($this->generation->summary), 0400);
        $this->write($this->incoming, 'pinned', now_text());
        $this->write($this->incoming, 'summary.json', $this->text, 0400);
        chmod($this->incoming, 0700);
        sync_folder($this->incoming);
    }

    private function replace()
    {
        $folder = $this->generation->folder;
        if (exists($folder)) {
            $aside = "{$this->request->folder}/replaced/{$this->generation->id}-" . substr(sha256((string) @file_get_contents($folder . '/summary.json')), 0, 8);
            make_folder(dirname($aside));
            // Only a folder that may be written can leave the one that it is in.
            is_dir($folder) && !is_link($folder) && @chmod($folder, 0700);
            for ($free = $aside, $number = 2; exists($free); $number++) {
                $free = "$aside-$number";
            }
            $this->rename($folder, $free);
            sync_folder(dirname($aside));
        }
        $this->rename($this->incoming, $folder);
        sync_folder(dirname($folder));
        // Another client that brings the same generation makes it again at any moment.
        remove_tree($folder . '/packs');
    }

    /** A part that was brought goes where the server keeps it. */
    private function put($what)
    {
        $from = $this->path($what);
        $to = $this->place($what);
        if (!exists($from)) {
            return;
        }
        $this->seal($from);
        // No file can be renamed over a folder.
        is_dir($to) && !is_link($to) && remove_tree($to);
        $this->rename($from, $to);
    }

    private function seal($path)
    {
        $handle = @fopen($path, 'rb');
        if (!$handle) {
            throw new Failure('damaged', "cannot read $path: " . last_error('unknown reason'), 'bring it again');
        }
        sync_handle($handle, $path);
        fclose($handle);
        chmod($path, 0400);
    }

    private function rename($from, $to)
    {
        if (!@rename($from, $to)) {
            throw new Failure('no_state', "cannot put $to in its place: " . last_error('unknown reason'), 'look at the permissions and the quota');
        }
    }

    private function write($folder, $name, $text, $mode = 0600)
    {
        foreach (["$folder/$name.part", "$folder/$name"] as $path) {
            // What a dead process left there cannot be written, and no file can be renamed over a folder.
            (substr($path, -5) === '.part' || is_dir($path)) && remove_tree($path);
        }
        write_durably("$folder/$name", $text, $mode);
    }

    /** What another summary's generation has of it stays there: that one is evidence. */
    private function copy($from, $to)
    {
        $in = @fopen($from, 'rb');
        $out = @fopen("$to.part", 'wb');
        if (!$in || !$out) {
            throw new Failure('no_state', "cannot copy $from: " . last_error('unknown reason'), 'look at the permissions and the quota');
        }
        while (($bytes = fread($in, CHUNK)) !== false && $bytes !== '') {
            write_all($out, $bytes, $to);
            $this->tell(0);
        }
        sync_handle($out, "$to.part");
        fclose($in);
        fclose($out);
        $this->rename("$to.part", $to);
    }

    /** Ids never repeat, whatever becomes of this one. */
    private function remember_id()
    {
        $path = $this->request->folder . '/last-id';
        $last = trim((string) @file_get_contents($path));
        if (!moment_of($last) || strcmp($this->generation->id, $last) > 0) {
            write_durably($path, $this->generation->id);
        }
    }

    // ---------------------------------------------------------------- parts

    /** Where a part lies that was brought. */
    private function path($what)
    {
        return part_file($what, $this->incoming, $this->incoming . '/packs');
    }

    /** Where the server keeps it. */
    private function place($what)
    {
        return part_file($what, $this->generation->folder, $this->generation->packs);
    }

    /** Where it is now. */
    private function here($what)
    {
        return exists($this->path($what)) ? $this->path($what) : $this->place($what);
    }

    private function hold($what)
    {
        $handle = $this->size($this->path($what)) === null ? false : @fopen($this->path($what), 'rb');
        if ($handle && !flock($handle, LOCK_EX | LOCK_NB, $busy) && $busy) {
            throw new Failure('busy', "another client brings the part $what", 'try again in a moment');
        }
        $this->held[] = $handle;
    }

    /** How many bytes of it were brought; null where it is whole. What cannot become it any more is removed. */
    private function brought($what, array $part)
    {
        $path = $this->path($what);
        $size = $this->size($path);
        if ($size !== null && $size < $part['size']) {
            return $size;
        }
        if ($size !== null && $this->is_right($path, $part)) {
            return null;
        }
        remove_tree($path);
        return 0;
    }

    private function is_right($path, array $part)
    {
        try {
            return $this->size($path) === $part['size'] && file_sha256($path, function () {
                $this->tell(0);
            }) === $part['sha256'];
        } catch (Failure $e) {
            return false;
        }
    }

    /** Of a file; null where there is none. */
    private function size($path)
    {
        clearstatcache(true, $path);
        $size = is_file($path) && !is_link($path) ? @filesize($path) : false;
        return $size === false ? null : $size;
    }

    private function tell($bytes)
    {
        Lock::keep();
        $this->telling->progress($this->done += $bytes, $this->total, 'bytes');
    }
}
