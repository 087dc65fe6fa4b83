<?php
// Updates by WordPress's own upgraders, one item at a time, each in a process of its own and each reversible by a rename.

/** The operation `update`. */
function operation_update(Operation $operation)
{
    $request = $operation->request;
    $items = wanted_items($request);
    $made = make_generation($operation, 'update');
    $operation->note('generation', "generation {$made['id']} was made first: {$made['detail']}", 'info', $made['id']);
    $operation->remember('seal', $made['seal']);
    $kept = [];
    $back = [];
    $units = [];
    $site = Installation::find($request);
    $place = staging_place($operation, $site->content());
    $operation->remember('places', [$place]);
    keeping_time(dirname($place), function () use ($place) {
        make_folder($place);
    });
    $operation->step('update');
    foreach ($items as $i => $item) {
        $operation->checkpoint(true);
        $name = "{$item['kind']} {$item['slug']}";
        $result = update_one($operation, $site, $item, $i, $place);
        if ($result === null) {
            foreach (item_units($operation, $i) as $unit) {
                // All translations share a folder: the first one put aside is what an undo brings back.
                $units += [$unit['live'] => $unit];
            }
            $kept[] = $name;
        } else {
            $back[] = "$name ($result)";
        }
        $operation->checkpoint(true);
    }
    conclude_update($operation, $kept, $back, array_values($units), $made);
}

function wanted_items(Request $request)
{
    $items = $request->get('items', []);
    foreach (is_array($items) ? $items : [null] as $item) {
        if (!is_array($item) || !in_array($item['kind'] ?? '', ['core', 'plugin', 'theme', 'translation'], true)
            || !preg_match('/^[A-Za-z0-9][A-Za-z0-9._-]{0,200}$/', (string) ($item['slug'] ?? ''))) {
            throw new Failure('bad_request', 'an item to update is not named by kind and slug', 'see modoseru updates');
        }
    }
    if (!$items) {
        throw new Failure('bad_request', 'nothing to update was named', 'see modoseru updates');
    }
    return $items;
}

/** What the child moved for item `$i`, read from the file that it wrote before it moved anything. */
function item_units(Operation $operation, $i)
{
    $unit = json_decode((string) @file_get_contents("{$operation->folder}/item-$i"), true);
    return is_array($unit) ? [$unit] : [];
}

/** Updates one item and has it looked at. Returns null where it stays, or why it was put back. */
function update_one(Operation $operation, Installation $site, array $item, $i, $place)
{
    $operation->remember('item', ['number' => $i, 'kind' => $item['kind'], 'slug' => $item['slug']] + before_upgrader($site));
    $operation->note('updating', "updating {$item['kind']} {$item['slug']}", 'info', $item['slug']);
    $input = ['item' => $item, 'unit_file' => "{$operation->folder}/item-$i", 'stage' => "$place/stage/$i", 'old' => "$place/old/$i"];
    make_folder("$place/stage/$i");
    $operation->remember('log', log_ends($site, $operation->request->get('error_log')));
    if (!in_array($item['kind'], ['core', 'translation'], true)) {
        try {
            keep_database_before($operation, $i);
        } catch (Failure $e) {
            return withdraw_item($operation, $item, $i, $e->getMessage());
        }
    }
    list($status, $out, $err) = run(myself('upgrade'), json($operation->request->fields + $input), 900);
    $answer = last_answer($operation->request->marker, $out);
    empty($answer['unlocked']) && release_upgrader($operation, DATABASE_WAIT_S);
    $result = is_array($answer) && !empty($answer['updated']) ? judge_item($operation, $item, $i, $answer['version'])
        : withdraw_item($operation, $item, $i, $answer['why'] ?? 'the upgrader died: ' . trim(substr($err, -200)));
    remove_tree("$place/stage/$i");
    return $result;
}

function withdraw_item(Operation $operation, array $item, $i, $why)
{
    put_back($operation, $item, $i);
    $operation->note('not_updated', "{$item['kind']} {$item['slug']} was not updated: $why", 'warning', $item['slug']);
    return $why;
}

function judge_item(Operation $operation, array $item, $i, $version)
{
    $name = "{$item['kind']} {$item['slug']}";
    $looked = $operation->ask('look', leave_page_of($operation), $item['slug'], $operation->request->whole('wait_s', 900));
    list($keep, $detail) = $looked ?: [false, 'nobody looked at the site'];
    $judged = $looked && !$operation->cancel_asked();
    list($fatal, $others, $first) = logged_since((array) $operation->recall('log'));
    if ($keep && $fatal !== null) {
        list($keep, $detail) = [false, "PHP's error log: $fatal"];
    }
    if ($keep) {
        try {
            close_item_window($operation, $i, DATABASE_WAIT_S);
        } catch (Failure $e) {
            throw new NotYet($e->word, "what $name did to the database is not known: " . $e->getMessage(), $e->hint);
        }
        $operation->note('updated', "$name is now $version", 'info', $item['slug']);
        $others && $operation->note('logged', "PHP's error log since $name was updated: $first" . ($others > 1 ? ' (and ' . ($others - 1) . ' more)' : ''), 'warning', $item['slug']);
        return null;
    }
    put_back($operation, $item, $i);
    $operation->note($judged ? 'put_back' : 'not_judged', "$name was put back: $detail", 'warning', $item['slug']);
    $operation->ask('reset', leave_page_of($operation), $item['slug'], 20);
    // Until then opcache went on running the new code, which may have changed the same options once more.
    item_database_back($operation, $item, $i, false);
    // It may have closed the site once more as well.
    lift_maintenance($operation);
    return $detail;
}

/** What the site was like where WordPress's upgrader works: one that dies there leaves that to the next. */
function before_upgrader(Installation $site)
{
    $maintenance = $site->abspath . '/.maintenance';
    $unpacked = $site->content() . '/upgrade';
    clearstatcache();
    $times = [];
    foreach ([$site->plugins(), $site->content() . '/themes', $site->content()] as $folder) {
        is_dir($folder) && $times[$folder] = filemtime($folder);
    }
    $words = $site->content() . '/languages';
    return ['maintenance' => is_file($maintenance) ? null : $maintenance, 'since' => time(), 'words' => is_dir($words) ? null : $words,
        'unpacked' => $unpacked, 'has_unpacked' => is_dir($unpacked), 'times' => $times];
}

/**
 * Takes away the locks of an upgrader that did not come to its end, or lost the database before it: WordPress would refuse
 * every update for a quarter of an hour. They hold the second in which they were taken.
 */
function release_upgrader(Operation $operation, $wait_s)
{
    for ($until = microtime(true) + $wait_s; ; usleep(500000)) {
        try {
            $database = Database::open(Installation::find($operation->request));
            $database->query('DELETE FROM ' . Database::name($database->prefix . 'options') . " WHERE option_name IN ('auto_updater.lock','core_updater.lock')"
                . ' AND option_value>=' . (int) $operation->recall('item')['since']);
            return;
        } catch (Failure $e) {
            $why = $e;
        } catch (mysqli_sql_exception $e) {
            $why = $e;
        }
        if (microtime(true) > $until) {
            $operation->note('locked', 'WordPress refuses updates for a quarter of an hour: ' . $why->getMessage(), 'warning');
            return;
        }
    }
}

/** Nothing is left of what was unpacked (WordPress empties that folder itself before it uses it), and the times are right. */
function clear_up_after_upgrader(Operation $operation)
{
    $item = $operation->recall('item');
    if (!isset($item['unpacked'])) {
        return;
    }
    foreach (@scandir($item['unpacked']) ?: [] as $name) {
        $name[0] === '.' || $name === 'index.html' || $name === 'index.php' || remove_tree("{$item['unpacked']}/$name");
    }
    $item['has_unpacked'] || @rmdir($item['unpacked']);
    isset($item['words']) && @rmdir($item['words']);
    put_times($item['times']);
}

/** Takes away the `.maintenance` that came with the item in hand. */
function lift_maintenance(Operation $operation)
{
    $maintenance = $operation->recall('item')['maintenance'];
    if ($maintenance !== null) {
        @unlink($maintenance);
    }
}

/** The JSON object behind the last marker of a child's output. */
function last_answer($marker, $out)
{
    $at = strrpos($out, "\n$marker ");
    return $at === false ? null : json_decode(trim(strtok(substr($out, $at + strlen($marker) + 2), "\n")), true);
}

/**
 * The old version returns: by a rename where the child switched by one, otherwise from the generation that was made
 * first. WordPress is not booted for it, so it works on a site that no longer boots.
 */
function put_back(Operation $operation, array $item, $i)
{
    try {
        close_item_window($operation, $i, 0);
    } catch (Failure $e) {
        $operation->note('database', 'the options are read when the database answers: ' . $e->getMessage(), 'warning');
    }
    try {
        lift_maintenance($operation);
        foreach (item_units($operation, $i) as $unit) {
            backward_unit($unit);
        }
        clear_up_after_upgrader($operation);
        @unlink("{$operation->folder}/item-$i.part");
        if ($item['kind'] === 'core') {
            core_back($operation);
        } elseif ($item['kind'] !== 'translation') {
            item_back($operation, $item, $i);
        }
    } catch (Failure $e) {
        throw new NeedsHand("{$item['kind']} {$item['slug']} could not be put back: " . $e->getMessage(),
            'restore the generation ' . $operation->recall('generation'));
    }
    item_database_back($operation, $item, $i);
    @unlink("{$operation->folder}/item-$i");
}

/** A dead update: every item that it had switched comes back, the one in hand as well. */
function abandon_update(Operation $operation)
{
    foreach (array_reverse((array) $operation->request->get('items', []), true) as $i => $item) {
        if (is_file("{$operation->folder}/item-$i") || ($operation->recall('item')['number'] ?? -1) === $i) {
            put_back($operation, $item, $i);
        }
    }
    if ($operation->recall('item')) {
        release_upgrader($operation, 0);
    }
}

/** What WordPress itself left half-made (a plugin without a folder, a folder that went missing) comes from the packs. */
function item_back(Operation $operation, array $item, $i)
{
    $site = Installation::find($operation->request);
    $folder = $item['kind'] === 'plugin' ? $site->plugins() : $site->content() . '/themes';
    if (!Installation::below($folder, $site->root) || exists("$folder/{$item['slug']}") || exists("$folder/{$item['slug']}.php")) {
        return;
    }
    $generation = Generation::open($operation->request, $operation->recall('generation'));
    $path = 'root' . substr("$folder/{$item['slug']}", strlen($site->root));
    $path = in_manifest($generation, $path) ? $path : "$path.php";
    if (!in_manifest($generation, $path)) {
        return;
    }
    $places = $operation->recall('places');
    foreach (stage_files($operation, $generation, [$path]) as $unit) {
        verify_staged($operation, $generation, [$path], null);
        forward_unit(['old' => "{$unit['old']}-$i"] + $unit);
    }
    $operation->remember('places', $places);
}

function in_manifest(Generation $generation, $path)
{
    foreach ($generation->manifest() as $entry) {
        if ($entry->path === $path) {
            return true;
        }
    }
    return false;
}

/** Core is replaced in place by its upgrader, so it comes back whole, files and database, from the generation. */
function core_back(Operation $operation)
{
    $generation = Generation::open($operation->request, $operation->recall('generation'));
    $plan = ['units' => stage_files($operation, $generation, 'all'), 'tables' => stage_tables($operation, $generation),
        'closed' => [$generation->summary['abspath']]];
    verify_staged($operation, $generation, 'all', $plan['tables']);
    switch_over($operation, $plan);
    $operation->remember('phase', null);
}

function conclude_update(Operation $operation, array $kept, array $back, array $units, array $made)
{
    $detail = implode('; ', array_filter([$kept ? 'updated: ' . implode(', ', $kept) : '', $back ? 'put back: ' . implode(', ', $back) : '']));
    $more = ['generation' => $made['id'], 'summary' => $made['seal']];
    if (!$kept) {
        drop_staging($operation);
        $operation->finish('rolled_back', $detail ?: 'nothing was updated', $more + ['code' => 'put_back']);
        return;
    }
    $operation->remember('plan', ['units' => $units, 'tables' => null, 'closed' => []]);
    // Core is replaced in place: only the generation that was made first takes it back.
    $operation->remember('whole', (bool) preg_grep('/^core /', $kept));
    $operation->remember('phase', 'done');
    drop_staging($operation);
    forget_evidence($operation->request);
    $operation->finish('done', $detail, $more);
}

/**
 * The child: WordPress's own upgrader works on one item; answers {updated, version, why, unlocked}: whether no lock of its own
 * is left.
 */
function answer_upgrade(Request $request)
{
    register_shutdown_function(function () use ($request) {
        $error = error_get_last();
        if (empty($GLOBALS['modoseru_answered'])) {
            say($request->marker, ['updated' => false, 'why' => 'WordPress ended in the middle'
                . ($error ? ': ' . strtok($error['message'], "\n") : '')]);
        }
    });
    // What is downloaded goes with what is unpacked, however the upgrader ends.
    defined('WP_TEMP_DIR') || define('WP_TEMP_DIR', $request->text('stage') . '/');
    return new Boot(Installation::find($request), $request, function () use ($request) {
        foreach (['file', 'misc', 'plugin', 'theme', 'update', 'template', 'screen', 'class-wp-upgrader'] as $file) {
            require_once ABSPATH . "wp-admin/includes/$file.php";
        }
        $answer = upgrade_item($request, $request->get('item'));
        $GLOBALS['modoseru_answered'] = true;
        return $answer;
    });
}

function upgrade_item(Request $request, array $item)
{
    if (!wp_is_file_mod_allowed('modoseru_update')) {
        return ['updated' => false, 'why' => 'the site forbids changes of its files (DISALLOW_FILE_MODS)'];
    }
    if (!WP_Upgrader::create_lock('auto_updater', 900)) {
        return ['updated' => false, 'unlocked' => true, 'why' => 'WordPress itself is updating at this moment'];
    }
    try {
        // Core's own upgrader takes the lock `core_updater` itself.
        $kinds = ['core' => 'upgrade_core', 'plugin' => 'upgrade_plugin', 'theme' => 'upgrade_theme', 'translation' => 'upgrade_translation'];
        $answer = $kinds[$item['kind']]($request, $item['slug']);
    } finally {
        $unlocked = WP_Upgrader::release_lock('auto_updater');
    }
    return $answer + ['unlocked' => $unlocked];
}

function upgrade_plugin(Request $request, $slug)
{
    require_once ABSPATH . 'wp-admin/includes/class-plugin-upgrader.php';
    wp_update_plugins();
    foreach (get_plugin_updates() as $file => $plugin) {
        if (plugin_slug($file) === $slug) {
            $upgrader = switching_upgrader('Plugin_Upgrader', $request, WP_PLUGIN_DIR . '/' . dirname($file), strpos($file, '/') !== false);
            $result = $upgrader->bulk_upgrade([$file]);
            wp_clean_plugins_cache();
            clearstatcache(true);
            $now = is_file(WP_PLUGIN_DIR . "/$file") ? get_plugin_data(WP_PLUGIN_DIR . "/$file", false, false)['Version'] : '';
            return upgraded($result[$file] ?? null, $upgrader, $now, $plugin->update->new_version);
        }
    }
    return ['updated' => false, 'why' => 'no update is offered for it now'];
}

function upgrade_theme(Request $request, $slug)
{
    require_once ABSPATH . 'wp-admin/includes/class-theme-upgrader.php';
    wp_update_themes();
    foreach (get_theme_updates() as $name => $theme) {
        if ($name === $slug) {
            $upgrader = switching_upgrader('Theme_Upgrader', $request, get_theme_root($name) . "/$name", true);
            $result = $upgrader->bulk_upgrade([$name]);
            wp_clean_themes_cache();
            clearstatcache(true);
            return upgraded($result[$name] ?? null, $upgrader, (string) wp_get_theme($name)->get('Version'), $theme->update['new_version']);
        }
    }
    return ['updated' => false, 'why' => 'no update is offered for it now'];
}

function plugin_slug($file)
{
    return strpos($file, '/') === false ? basename($file, '.php') : dirname($file);
}

function upgraded($result, $upgrader, $now, $wanted)
{
    if (is_array($result) && version_compare($now, $wanted, '>=')) {
        return ['updated' => true, 'version' => $now];
    }
    $why = is_wp_error($result) ? $result : (is_wp_error($upgrader->skin->result ?? null) ? $upgrader->skin->result : null);
    return ['updated' => false, 'why' => $why ? trim($why->get_error_message()) : "it is still $now"];
}

/**
 * WordPress's upgrader, unpacking beside the live folder and switched in by two renames when its new version is
 * whole: no visitor meets half a plugin, and no maintenance page is needed.
 */
function switching_upgrader($class, Request $request, $live, $has_folder)
{
    $skin = new Automatic_Upgrader_Skin();
    if (!$has_folder) {
        return new $class($skin);
    }
    $upgrader = null;
    $stage = $request->text('stage') . '/' . basename($live);
    add_filter('upgrader_package_options', function ($options) use ($stage) {
        $options['destination'] = $stage;
        // Otherwise bulk_upgrade deletes the live folder before the new one is whole.
        $options['clear_destination'] = false;
        unset($options['hook_extra']['temp_backup']);
        return $options;
    });
    // WordPress would name it after its place below the destination, which is empty, and switch an active theme to that.
    add_filter('upgrader_post_install', function ($response) use (&$upgrader, $live) {
        if (is_array($upgrader->result)) {
            $upgrader->result['destination_name'] = basename($live);
        }
        return $response;
    }, 0);
    // The first thing after the copy is in place; what follows in WordPress already sees the new version live.
    add_filter('upgrader_post_install', function ($response, $extra, $result) use ($request, $stage, $live) {
        if (is_wp_error($response)) {
            return $response;
        }
        $unit = ['live' => $live, 'stage' => $stage, 'old' => $request->text('old'), 'carry' => []];
        $unit = known_by_inode($unit);
        if (!is_dir($unit['stage'])) {
            return new WP_Error('modoseru', 'the package was not unpacked');
        }
        write_durably($request->text('unit_file'), json($unit));
        forward_unit($unit);
        return $response;
    }, PHP_INT_MAX, 3);
    $upgrader = $class === 'Plugin_Upgrader'
        ? new class ($skin) extends Plugin_Upgrader {
            public function maintenance_mode($enable = false)
            {
            }
        }
        : new class ($skin) extends Theme_Upgrader {
            public function maintenance_mode($enable = false)
            {
            }
        };
    return $upgrader;
}

/** The folder of all translations is copied, the new words are put into the copy, and the two change places. */
function upgrade_translation(Request $request, $slug)
{
    require_once ABSPATH . 'wp-admin/includes/class-language-pack-upgrader.php';
    ask_for_updates();
    foreach (wp_get_translation_updates() as $pack) {
        if (translation_slug($pack) !== $slug) {
            continue;
        }
        $stage = $request->text('stage') . '/languages';
        copy_words(WP_LANG_DIR, $stage);
        add_filter('upgrader_package_options', function ($options) use ($stage) {
            $options['destination'] = $stage . substr($options['destination'], strlen(WP_LANG_DIR));
            return $options;
        });
        $skin = new Automatic_Upgrader_Skin();
        $result = (new Language_Pack_Upgrader($skin))->bulk_upgrade([$pack], ['clear_update_cache' => false]);
        $result = is_array($result) ? reset($result) : $result;
        if (!is_array($result)) {
            $why = is_wp_error($result) ? $result->get_error_message() : implode(' ', $skin->get_upgrade_messages());
            return ['updated' => false, 'why' => trim(strip_tags($why)) ?: 'the translation was not unpacked'];
        }
        $unit = known_by_inode(['live' => WP_LANG_DIR, 'stage' => $stage, 'old' => $request->text('old'), 'carry' => []]);
        write_durably($request->text('unit_file'), json($unit));
        forward_unit($unit);
        wp_clean_update_cache();
        return ['updated' => true, 'version' => (string) $pack->updated];
    }
    return ['updated' => false, 'why' => 'no update is offered for it now'];
}

/** Real copies: WordPress writes over what it finds. */
function copy_words($from, $to)
{
    make_folder($to);
    foreach (@scandir($from) ?: [] as $name) {
        if ($name === '.' || $name === '..') {
            continue;
        }
        if (is_dir("$from/$name") && !is_link("$from/$name")) {
            copy_words("$from/$name", "$to/$name");
        } elseif (!(is_link("$from/$name") ? symlink(readlink("$from/$name"), "$to/$name") : copy("$from/$name", "$to/$name"))) {
            throw new Failure('disk_full', "$from/$name could not be copied", 'look at the account\'s space');
        } elseif (!is_link("$from/$name")) {
            chmod("$to/$name", fileperms("$from/$name") & 07777);
            touch("$to/$name", filemtime("$from/$name"));
        }
    }
    if (is_dir($from)) {
        chmod($to, fileperms($from) & 07777);
        touch($to, filemtime($from));
    }
}

function upgrade_core(Request $request, $slug)
{
    require_once ABSPATH . 'wp-admin/includes/class-core-upgrader.php';
    wp_version_check([], true);
    $offers = get_core_updates(['dismissed' => true, 'available' => true]) ?: [];
    $offers = array_values(array_filter($offers, function ($offer) {
        return in_array($offer->response, ['upgrade', 'autoupdate'], true);
    }));
    if (!$offers) {
        return ['updated' => false, 'why' => 'no update is offered for it now'];
    }
    $result = (new Core_Upgrader(new Automatic_Upgrader_Skin()))->upgrade($offers[0], ['do_rollback' => false]);
    if (is_wp_error($result)) {
        return ['updated' => false, 'why' => $result->get_error_message()];
    }
    // The new core's own code brings the database up to it, in a process that never loaded the old one.
    list($status, $out, $err) = run(myself('upgrade-database'), json($request->fields), 300);
    return $status === 0 ? ['updated' => true, 'version' => $result]
        : ['updated' => false, 'why' => 'the database could not be brought up to the new version: ' . trim(substr($err, -200))];
}

function answer_upgrade_database(Request $request)
{
    define('WP_INSTALLING', true);
    return new Boot(Installation::find($request), $request, function () {
        require_once ABSPATH . 'wp-admin/includes/upgrade.php';
        wp_upgrade();
        return ['upgraded' => true];
    });
}
