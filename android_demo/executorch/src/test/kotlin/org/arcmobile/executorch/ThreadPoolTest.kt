package org.arcmobile.executorch

import kotlin.concurrent.thread
import kotlin.test.Test
import kotlin.test.assertContains
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertNull
import org.arcmobile.ArcMobileException

class ThreadPoolTest {
    private val pool = ThreadPool()

    @Test
    fun `engines that are open together have one number of threads`() {
        pool.join(2)
        pool.join(2)
        pool.join(null) // takes what there is
        assertEquals(2, pool.run { it })
        val error = assertFailsWith<ArcMobileException> { pool.join(1) }
        assertEquals(ArcMobileException.Kind.ENGINE, error.kind)
        assertContains(error.message, "threads 1: ExecuTorch has one thread pool")
        assertContains(error.message, "has it with 2")
        repeat(3) { pool.leave() }
        pool.join(1)
        assertEquals(1, pool.run { it })
    }

    @Test
    fun `the default is a number of its own`() {
        pool.join(null)
        assertNull(pool.run { it })
        val error = assertFailsWith<ArcMobileException> { pool.join(4) }
        assertContains(error.message, "the default number")
        pool.leave()
        pool.join(4)
        assertEquals(4, pool.run { it })
    }

    @Test
    fun `one engine calls the runtime at a time`() {
        var inside = 0
        var most = 0
        val callers = List(4) {
            thread {
                repeat(200) {
                    pool.run {
                        most = maxOf(most, ++inside)
                        Thread.yield()
                        inside--
                    }
                }
            }
        }
        callers.forEach(Thread::join)
        assertEquals(1, most)
    }
}
